"""A finished run judged on one split."""

from pathlib import Path
from typing import Any

from pupil_training.errors import DataError
from pupil_training.evaluate import accuracy, calibration, closeness, interval, logits_of
from pupil_training.runs import load_run


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
    teacher_folder = folder / run.result["teacher"]["run"] if run.result["teacher"] else None
    if teacher_folder is not None and (teacher_folder / "result.json").exists():
        teacher = load_run(teacher_folder)
        theirs = logits_of(teacher.model, images.images)
        report |= {"teacher": teacher.recipe.name}
        report |= closeness(logits, temperature, theirs, teacher.model.temperature.item())
    return report
