"""Reads a bundle and refuses one that is not whole."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pupil_server.bundle_facts import BundleFacts, PrecisionFacts, read_facts
from pupil_server.certificates import certificate_message
from pupil_server.errors import BundleError
from pupil_trust import Calibration, Certificate


@dataclass(frozen=True)
class Golden:
    """An image file and the scores (K,) that it must give, within `tolerance`."""

    name: str
    encoded: bytes
    scores: NDArray[np.float32]
    tolerance: float


@dataclass(frozen=True)
class CalibrationSet:
    """Which images a calibration was made of, the class that the graph gave each (N,), and the right one (N,).

    Brightness and contrast are the mean and standard deviation of each image's pixels, from 0 to 1 (N,); energy is
    log Σ exp of its logits (N,).
    """

    sha256: str
    predicted: NDArray[np.int64]
    label: NDArray[np.int64]
    brightness: NDArray[np.float64] | None
    contrast: NDArray[np.float64] | None
    energy: NDArray[np.float64] | None


@dataclass(frozen=True)
class Bundle:
    """A bundle in one of its precisions, and beside it in the `others`.

    Every byte of it has been compared with its fingerprint; `facts.precision` says which precision this is.
    """

    folder: Path
    facts: BundleFacts
    graph: Path
    calibration: Calibration | None
    calibration_set: CalibrationSet | None
    certificates: tuple[Certificate, ...]
    goldens: tuple[Golden, ...]
    others: tuple["Bundle", ...] = ()

    @property
    def precisions(self) -> dict[str, "Bundle"]:
        return {bundle.facts.precision: bundle for bundle in (self, *self.others)}


def read_bundle(folder: Path) -> Bundle:
    """The bundle in `folder`; raises BundleError for anything missing, changed or not understood."""
    facts = read_facts(folder)
    for name, sha256 in facts.files.items():
        _check_file(folder, name, sha256)
    if (facts.model, str(facts.version)) != (folder.parent.name, folder.name):
        where = f"{folder.parent.name}/{folder.name}"
        raise BundleError(f"{folder}: says that it is {facts.model}/{facts.version}, but lies at {where}; move it back")
    top, *others = (_in_precision(folder, facts, name, each) for name, each in facts.each_precision().items())
    return replace(top, others=tuple(others))


def _in_precision(folder: Path, facts: BundleFacts, precision: str, own: PrecisionFacts) -> Bundle:
    for name in (own.file, own.goldens, *([own.calibration] if own.calibration else [])):
        if name not in facts.files:
            raise BundleError(f"{folder}/bundle.json: lists no {name}; export it again")
    facts = facts.model_copy(update={"precision": precision, "certificates": own.certificates})
    try:
        calibration, images = _read_calibration(folder / own.calibration) if own.calibration else (None, None)
        return Bundle(
            folder,
            facts,
            folder / own.file,
            calibration,
            images,
            _read_certificates(facts),
            _read_goldens(folder, own.goldens, facts),
        )
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise BundleError(
            f"{folder}: calibration, certificates or goldens of {precision} are not understood ({error!r}); "
            "export it again"
        ) from error


def _check_file(folder: Path, name: str, sha256: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise BundleError(f"{folder}/bundle.json: names {name}, outside the bundle; refused")
    try:
        real = (folder / name).resolve(strict=True)
        if not real.is_relative_to(folder.resolve()):
            raise BundleError(f"{folder / name}: a link out of the bundle; refused")
        if not real.is_file():  # a pipe would be waited for, a device read without end
            raise BundleError(f"{folder / name}: not a file; export it again")
        with real.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{folder / name}: {error.strerror}; export it again") from error
    except ValueError as error:
        raise BundleError(f"{folder}/bundle.json: names {name!r}, which no file can be called; refused") from error
    if found != sha256:
        raise BundleError(f"{folder / name}: changed since it was exported (the SHA-256 differs); export it again")


def _read_calibration(file: Path) -> tuple[Calibration, CalibrationSet]:
    raw = json.loads(file.read_bytes())
    predicted, label = np.array(raw["predicted"], dtype=np.int64), np.array(raw["label"], dtype=np.int64)
    if predicted.shape != label.shape:  # numpy would compare one label with every image
        raise ValueError(f"{predicted.shape} predictions and {label.shape} labels")
    confidence, grid = (np.array(raw[key], dtype=np.float64) for key in ("confidence", "grid"))
    told = (_of_each_image(raw, key, len(label)) for key in ("brightness", "contrast", "energy"))
    images = CalibrationSet(str(raw["sha256"]), predicted, label, *told)
    return Calibration(confidence, predicted == label, grid), images


def _of_each_image(raw: dict[str, Any], key: str, images: int) -> NDArray[np.float64] | None:
    if key not in raw:
        return None
    values = np.array(raw[key], dtype=np.float64)
    if values.shape != (images,) or not np.isfinite(values).all():
        raise ValueError(f"{key} of shape {values.shape} for {images} images")
    return values


def _read_certificates(facts: BundleFacts) -> tuple[Certificate, ...]:
    """They lie inside what the fingerprint covers, so they cannot name it themselves."""
    found = (Certificate.from_dict(certificate) for certificate in facts.certificates)
    certificates = tuple(replace(certificate, fingerprint=facts.fingerprint) for certificate in found)
    for certificate in certificates:
        certificate_message(certificate)  # raises for what could never be told to a caller
    return certificates


def _read_goldens(folder: Path, file: str, facts: BundleFacts) -> tuple[Golden, ...]:
    raw = json.loads((folder / file).read_bytes())
    goldens = []
    for image in raw["images"]:
        name = f"golden/{image['file']}"
        if name not in facts.files:
            raise ValueError(f"{name} is not listed in bundle.json")
        scores, tolerance = np.array(image["scores"], dtype=np.float32), float(raw["tolerance"])
        if scores.ndim != 1 or not 0 <= tolerance <= 1:
            raise ValueError(f"{name}: scores of shape {scores.shape} within {tolerance}")
        goldens.append(Golden(name, (folder / name).read_bytes(), scores, tolerance))
    if not goldens:
        raise ValueError("no golden image")
    return tuple(goldens)
