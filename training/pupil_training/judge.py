"""A finished run judged on one split."""

from pathlib import Path
from typing import Any

import torch

from pupil_training.errors import DataError
from pupil_training.evaluate import accuracy, calibration, closeness, interval, logits_of
from pupil_training.runs import Run, load_run
from pupil_training.teachers import Teacher, load_teachers, logits_of_teacher, together


def evaluate_run(folder: Path, split: str) -> dict[str, Any]:
    """Accuracy with interval, NLL, ECE; with agreement and KL where the run has a teacher that is still there."""
    run = load_run(folder)
    images = run.load_split(split)
    if images.labels is None:
        raise DataError(f"the {split} split has no labels to judge by")
    logits, temperature = logits_of(run.model, images.images), run.model.temperature.item()
    counted = accuracy(logits, images.labels)
    report = {
        "run": str(folder),
        "split": split,
        "accuracy": counted._asdict(),
        "interval": interval(counted),
        **calibration(logits, images.labels, temperature),
        "parameters": run.result["parameters"],
        "multiply_adds": run.result["multiply_adds"],
        "sha256": images.sha256,
    }
    if (teacher := _teacher(run)) is not None:
        theirs = logits_of_teacher(teacher, images.images)
        report |= {"teacher": teacher.name, **closeness(logits, temperature, theirs, teacher.temperature)}
    return report


def _teacher(run: Run) -> Teacher | None:
    """The run's teachers, where all of them are folders that are still there; no server is asked."""
    places = [teacher.get("run") or teacher.get("bundle") for teacher in run.result["teachers"]]
    folders = [run.folder / place for place in places if place is not None]
    there = all((folder / "result.json").exists() or (folder / "bundle.json").exists() for folder in folders)
    if not places or len(folders) < len(places) or not there:
        return None
    return together(load_teachers([str(folder) for folder in folders], run.model, torch.device("cpu")))
