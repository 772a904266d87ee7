"""From a run to a bundle: the folder that docs/files.md describes."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from pupil_export.answers import OnnxModel
from pupil_export.card import model_card
from pupil_export.evidence import (
    accuracy,
    calibration_answers,
    certificates,
    check_unchanged,
    honesty,
    labels_of,
    split_if_any,
)
from pupil_export.goldens import goldens
from pupil_export.graph import Served, export_graph
from pupil_export.parity import check_parity
from pupil_export.repository import check_name, new_version, write_bundle
from pupil_export.teachers import teacher_of
from pupil_training.runs import Run, load_run

FORMAT = 1


def export(
    run_folder: Path,
    repository: Path,
    *,
    name: str | None = None,
    version: int | None = None,
    teacher: str | None = None,
    licence: str = "",
) -> Path:
    """The folder of a new bundle, made from a finished run; it is there whole or not at all.

    `name` defaults to the recipe's, `version` to the next free one, `teacher` ("name" or "name/version") to the
    bundle of the run's own teacher.

    Raises ExportError, and TrainingError where the run or its data cannot be read.
    """
    run = load_run(run_folder)
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
    facts, files = _bundle(run)
    facts = {**origin, **facts, "files": {path: sha256(content) for path, content in files.items()}}
    facts["fingerprint"] = fingerprint(facts)
    folder = repository / name / str(version)
    about = {"bundle.json": _json(facts), "README.md": model_card(facts).encode()}
    write_bundle(folder, {**files, **about})
    return folder


def _bundle(run: Run) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What can be said about the exported model, and the files that prove it."""
    served = Served(run.model)
    graph = export_graph(served)
    model = OnnxModel(graph)
    validation = run.load_split("validation")
    check_unchanged(run, "validation", validation)
    parity = check_parity(served, model, validation.images.numpy())
    files = {"model.onnx": graph, **goldens(model, validation)}
    facts = _facts(run)
    temperature = facts["temperature"]
    facts["parity"] = {"images": parity.images, "largest_difference": parity.largest_difference}
    for split, images in {"validation": validation, "test": split_if_any(run, "test")}.items():
        if images is not None:
            answers, labels = model(images.images.numpy()), labels_of(images)
            facts["metrics"][f"{split}_accuracy"] = accuracy(answers, labels)
            facts["calibration_error"] = {
                "split": split,
                "images": len(labels),
                **honesty(answers, labels, temperature),
            }
            facts["data"][split] = images.sha256
    calibration = split_if_any(run, "calibration")
    if calibration is not None:
        if not (run.recipe.data.root / "calibration").is_dir():
            check_unchanged(run, "train", run.load_split("train"))
        proof = calibration_answers(model, calibration, split_if_any(run, "pool"))
        files["calibration.json"] = _json(proof)
        facts["certificates"] = certificates(proof)
        facts["data"]["calibration"] = calibration.sha256
    return facts, files


def _facts(run: Run) -> dict[str, Any]:
    """What the run itself knows."""
    return {
        "classes": list(run.classes),
        "input": run.model.input._asdict(),
        "resize": run.result["resize"],
        "precision": "fp32",
        "temperature": run.model.temperature.item(),
        "parameters": run.result["parameters"],
        "multiply_adds": run.result["multiply_adds"],
        "metrics": {},
        "certificates": [],
        "recipe": run.recipe.model_dump(mode="json"),
        "checkpoint": sha256((run.folder / "checkpoint.pt").read_bytes()),
        "data": dict(run.result["data"]),
    }


def fingerprint(facts: Mapping[str, Any]) -> str:
    """SHA-256 over bundle.json without its own `fingerprint`, in the one spelling that docs/files.md fixes."""
    rest = {key: value for key, value in facts.items() if key != "fingerprint"}
    return sha256(json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def sha256(content: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
