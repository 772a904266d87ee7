"""From somebody else's ONNX file to a bundle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from scipy import special

from pupil_export.answers import OnnxModel
from pupil_export.bundle import fingerprint, sha256, to_json
from pupil_export.errors import ExportError
from pupil_export.foreign.batch import free_batch
from pupil_export.foreign.card import model_card
from pupil_export.foreign.model import ForeignModel, read_model
from pupil_export.foreign.pictures import patterns, pictures_in
from pupil_export.foreign.wrap import normalised, wrap
from pupil_export.goldens import TOLERANCES
from pupil_export.repository import FORMAT, check_name, new_version, write_bundle
from pupil_training.preprocess import Preprocess

SUMS_TO_ONE = 1e-3  # how far the sum of a row may be from 1, half precision included
SAME = 1e-4  # between a score of the bundle's graph and of the file's own


@dataclass(frozen=True, kw_only=True)
class Feeding:
    """What the file does not say of itself. Absent: found out, or the file's own."""

    mean: Sequence[float]  # of pixels from 0 to 1, one or one a channel
    std: Sequence[float]
    layout: str | None = None  # nchw, nhwc
    size: tuple[int, int] | None = None  # height and width, where the file leaves them open
    resize: int | None = None  # of the shorter side, before the crop
    interpolation: str = "bilinear"
    output: str | None = None
    softmax: str | None = None  # inside the file's graph, or outside of it


def import_model(
    path: Path,
    repository: Path,
    *,
    name: str,
    classes: Sequence[str],
    feeding: Feeding,
    version: int | None = None,
    images: Path | None = None,
    licence: str = "",
) -> Path:
    """The folder of a new bundle around the classifier in `path`; it is there whole or not at all.

    Raises ExportError for what cannot be served: which file, what is wrong, what to do.
    """
    version = new_version(repository, check_name(name), version)
    model = free_batch(read_model(path, layout=feeding.layout, size=feeding.size, output=feeding.output))
    preprocess = _preprocess(model, feeding)
    pictures = pictures_in(images, preprocess) if images else patterns(preprocess)
    pixels = np.stack([preprocess.decode(picture) for picture in pictures.values()])
    graph, scores, about = _served(model, pixels, feeding, len(classes))
    files = {"model.onnx": graph, **_goldens(pictures, scores, about["precision"])}
    facts: dict[str, Any] = {
        "format": FORMAT,
        "model": name,
        "version": version,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "classes": list(classes),
        "input": {"height": preprocess.height, "width": preprocess.width, "channels": preprocess.channels},
        "resize": preprocess.resize,
        **about,
        "licence": licence,
        "code": installed_version("pupil"),
        "files": {file: sha256(content) for file, content in files.items()},
    }
    facts["fingerprint"] = fingerprint(facts)
    folder = repository / name / str(version)
    write_bundle(folder, {**files, "bundle.json": to_json(facts, indent=2), "README.md": model_card(facts).encode()})
    return folder


def _preprocess(model: ForeignModel, feeding: Feeding) -> Preprocess:
    height, width, channels = model.size
    shortest = feeding.resize or max(height, width)
    if shortest < max(height, width):
        raise ExportError(f"--resize {shortest}: {model.path} takes {height}×{width}, which is more")
    return Preprocess(height, width, channels, shortest, feeding.interpolation)


def _served(
    model: ForeignModel, pixels: NDArray[np.uint8], feeding: Feeding, classes: int
) -> tuple[bytes, NDArray[np.float32], dict[str, Any]]:
    """The bundle's graph, its scores for `pixels`, and what bundle.json says of both."""
    mean, std = (_spread(model, numbers) for numbers in (feeding.mean, feeding.std))
    if max(mean) > 1:
        raise ExportError(f"--mean {', '.join(map(str, mean))}: of pixels from 0 to 1; divide it and --std by 255")
    if not min(std) > 0:
        raise ExportError(f"--std {', '.join(map(str, std))}: numbers above 0 are wanted")
    given = model.run(normalised(pixels, mean, std))
    if given.shape[1] != classes:
        raise ExportError(f"{model.path}: gives {given.shape[1]} numbers an image, but there are {classes} classes")
    softmax = _softmax(model, given, feeding.softmax)
    graph = wrap(model, mean=mean, std=std, softmax=softmax, classes=classes)
    scores = OnnxModel(graph)(pixels, model.batch or len(pixels)).scores
    _check(model, scores, given if softmax == "inside" else special.softmax(given.astype(np.float64), axis=1))
    about: dict[str, Any] = {
        "precision": "fp16" if model.kind == TensorProto.FLOAT16 else "fp32",
        "file": "model.onnx",
        "bytes": len(graph),
        "goldens": "golden/golden.json",
        "calibration": None,
        "temperature": 1.0,
        "max_batch": model.batch,
        "teacher": None,
        "metrics": {},
        "certificates": [],
        "precisions": {},
        "graph": {
            "file": model.path.name,
            "sha256": sha256(model.path.read_bytes()),
            "layout": model.layout,
            "mean": mean,
            "std": std,
            "output": model.output,
            "softmax": softmax,
        },
    }
    return graph, scores, about


def _spread(model: ForeignModel, numbers: Sequence[float]) -> list[float]:
    channels = model.size[2]
    if len(numbers) not in (1, channels):
        raise ExportError(f"{model.path}: takes {channels} channels; --mean and --std want one number or {channels}")
    return list(numbers) * (channels // len(numbers))


def _softmax(model: ForeignModel, given: NDArray[np.float32], said: str | None) -> str:
    if not np.isfinite(given).all():
        raise ExportError(f"{model.path}: gives numbers that are not finite; are --mean and --std its own?")
    found = "inside" if (given >= 0).all() and (np.abs(given.sum(axis=1) - 1) <= SUMS_TO_ONE).all() else "outside"
    if said and said != found:
        sums = "are probabilities already" if found == "inside" else "are no probabilities: they do not sum to 1"
        raise ExportError(f"{model.path}: its outputs {sums}; say --softmax {found}, or another --output")
    return found


def _check(model: ForeignModel, found: NDArray[np.float32], expected: NDArray[np.floating[Any]]) -> None:
    """The bundle's graph against the file's own, fed by hand."""
    difference = float(np.abs(found - expected).max())
    most = SAME if model.kind != TensorProto.FLOAT16 else TOLERANCES["fp16"]
    if not difference <= most:
        raise ExportError(f"{model.path}: its scores change by {difference:.2g} when it is fed pixels; not imported")


def _goldens(pictures: Mapping[str, bytes], scores: NDArray[np.float32], precision: str) -> dict[str, bytes]:
    entries = [{"file": name, "scores": row.tolist()} for name, row in zip(pictures, scores, strict=True)]
    text = to_json({"tolerance": TOLERANCES[precision], "images": entries}, indent=2)
    return {**{f"golden/{name}": picture for name, picture in pictures.items()}, "golden/golden.json": text}
