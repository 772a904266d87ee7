"""From a run to a bundle: the folder that docs/files.md describes."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from pupil_export.answers import Answering, OnnxModel
from pupil_export.card import model_card
from pupil_export.compress import compress
from pupil_export.evidence import calibration_answers, certificates, measure
from pupil_export.gate import DEFAULT_GATE, Gate
from pupil_export.goldens import TOLERANCES, golden_file, goldens
from pupil_export.graph import Served, export_graph
from pupil_export.parity import check_parity
from pupil_export.precisions import file_of, in_order
from pupil_export.repository import FORMAT, check_name, new_version, write_bundle
from pupil_export.speed import machine, milliseconds
from pupil_export.splits import load_splits
from pupil_export.teachers import teacher_of
from pupil_export.trained_on import trained_on
from pupil_training.data import ImageSet
from pupil_training.recipe import override_data
from pupil_training.runs import Run, load_run


def export(
    run_folder: Path,
    repository: Path,
    *,
    name: str | None = None,
    version: int | None = None,
    teacher: str | None = None,
    licence: str = "",
    precisions: Sequence[str] = ("fp32",),
    gate: Gate = DEFAULT_GATE,
    data: Sequence[str] = (),
) -> Path:
    """The folder of a new bundle, made from a finished run; it is there whole or not at all.

    `name` defaults to the recipe's, `version` to the next free one, `teacher` ("name" or "name/version") to the
    bundle of the run's own teacher. `precisions` are those of its graphs, fp32 always among them; `gate` says what
    fp16 and int8 may cost. `data`, `key=value` each, says where the run's images are by now.

    Raises ExportError, and TrainingError where the run or its data cannot be read.
    """
    precisions = in_order(precisions)
    run = load_run(run_folder)
    if data:
        run = replace(run, recipe=run.recipe.model_copy(update={"data": override_data(run.recipe.data, data)}))
    name = check_name(name or run.recipe.name)
    version = new_version(repository, name, version)
    origin = {
        "format": FORMAT,
        "model": name,
        "version": version,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "teacher": teacher_of(run, repository, teacher),
        "licence": licence,
        "code": installed_version("pupil"),
    }
    facts, files = _content(run, precisions, gate)
    facts = {**origin, **facts, "files": {path: sha256(content) for path, content in files.items()}}
    facts["fingerprint"] = fingerprint(facts)
    folder = repository / name / str(version)
    about = {"bundle.json": to_json(facts, indent=2), "README.md": model_card(facts).encode()}
    write_bundle(folder, {**files, **about})
    return folder


def _content(run: Run, precisions: Sequence[str], gate: Gate) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What can be said about the exported model in each precision, and the files that prove it."""
    splits, learned = load_splits(run), trained_on(run.folder)
    if "calibration" in splits:
        learned.require_new(splits["calibration"])
    validation = splits["validation"]
    served = Served(run.model)
    graph = export_graph(served)
    parity = check_parity(served, OnnxModel(graph), validation.images.numpy())
    compressed = compress(run, served, graph, validation, precisions, gate)
    graphs = {"fp32": graph, **{precision: each.graph for precision, each in compressed.items()}}
    models = {precision: OnnxModel(each) for precision, each in graphs.items()}
    tolerances = TOLERANCES | {precision: each.tolerance for precision, each in compressed.items()}
    files, said = goldens(models, tolerances, validation), {}
    answering: dict[str, Answering] = {**models, **{precision: each.answers for precision, each in compressed.items()}}
    temperature = run.model.temperature.item()
    for precision, model in models.items():
        said[precision], its_files = _evidence(precision, model, answering[precision], splits, temperature)
        files |= {file_of(precision, "model.onnx"): graphs[precision], **its_files}
    files |= learned.files
    facts = {**_known(run, splits), "parity": asdict(parity), "machine": machine(), **said["fp32"]}
    facts["trained_on"] = learned.facts
    facts["precisions"] = {precision: {**said[precision], **each.facts} for precision, each in compressed.items()}
    return facts, files


def _evidence(
    precision: str, model: OnnxModel, answers: Answering, splits: Mapping[str, ImageSet], temperature: float
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What one precision answers, and the file that proves its certificates, if there are any."""
    facts = {
        "file": file_of(precision, "model.onnx"),
        "bytes": model.bytes,
        "goldens": golden_file(precision),
        "calibration": None,
        "certificates": [],
        "milliseconds": milliseconds(model, splits["validation"].images.numpy()),
        **measure(answers, splits, temperature),
    }
    if "calibration" not in splits:
        return facts, {}
    proof = calibration_answers(answers, splits["calibration"], splits.get("pool"))
    facts["calibration"] = file_of(precision, "calibration.json")
    facts["certificates"] = certificates(proof)
    return facts, {facts["calibration"]: to_json(proof)}


def _known(run: Run, splits: Mapping[str, ImageSet]) -> dict[str, Any]:
    """What the run and its data say before the graph is asked."""
    return {
        "classes": list(run.classes),
        "input": run.model.input._asdict(),
        "resize": run.result["resize"],
        "precision": "fp32",
        "temperature": run.model.temperature.item(),
        "parameters": run.result["parameters"],
        "multiply_adds": run.result["multiply_adds"],
        "recipe": run.recipe.model_dump(mode="json"),
        "checkpoint": sha256((run.folder / "checkpoint.pt").read_bytes()),
        "data": {**run.result["data"], **{split: images.sha256 for split, images in splits.items()}},
        "images": {**run.result["images"], **{split: len(images) for split, images in splits.items()}},
    }


def fingerprint(facts: Mapping[str, Any]) -> str:
    """SHA-256 over bundle.json without its own `fingerprint`, in the one spelling that docs/files.md fixes."""
    rest = {key: value for key, value in facts.items() if key != "fingerprint"}
    return sha256(json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def sha256(content: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def to_json(value: Mapping[str, Any], indent: int | None = None) -> bytes:
    """As the files of a bundle spell it."""
    return (json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n").encode()
