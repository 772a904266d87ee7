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
    images = run.splits().open(split)
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
    """The run's teachers, where all of them are still there."""
    names = [str(run.folder / teacher["run"]) for teacher in run.result["teachers"]]
    if not names or not all((Path(name) / "result.json").exists() for name in names):
        return None
    return together(load_teachers(names, run.model, torch.device("cpu")))
