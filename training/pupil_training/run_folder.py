"""A run's folder: opened before training, completed after it."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from pupil_training import checkpoint
from pupil_training.checkpoint import Checkpoint
from pupil_training.data.training import TrainingData
from pupil_training.data.written_splits import WrittenSplits, read_splits, write_splits
from pupil_training.errors import RunError
from pupil_training.evaluate import accuracy, calibration, closeness, logits_of
from pupil_training.files import sweep, write_json
from pupil_training.models import Classifier
from pupil_training.models.cost import multiply_adds, parameters
from pupil_training.preprocess import Preprocess
from pupil_training.prior import match_prior
from pupil_training.recipe import Recipe
from pupil_training.runs import Run, load_recipe_json
from pupil_training.teachers import Teacher, fingerprint, together
from pupil_training.team import Team
from pupil_trust import fit_temperature

FORMAT = 1
SAME_BITS = ("data.memory", "data.memory_limit_gb", "data.workers", "labels.file")  # what may change in a resumed run
PLACES = (  # what may lie elsewhere by now: what is there is compared, or the checkpoint holds what came of it
    *("data.root", "data.table", "data.pool_root", "data.splits", "distill.teacher", "distill.cache"),
    *("model.weights", "transfer.run"),
)


def open_run(
    recipe: Recipe,
    splits: WrittenSplits,
    origin: Mapping[str, str],
    folder: Path,
    team: Team,
    *,
    resume: bool,
    force: bool,
) -> Checkpoint | None:
    """Makes the folder ready; the checkpoint to go on from, if any.

    Raises RunError: a run is in the way, finished or not, or the interrupted one had another recipe, other images or
    another origin.
    """
    saved = folder / "checkpoint.pt"
    finished = (folder / "result.json").exists()
    if finished and not force:
        raise RunError(f"{folder}: holds a finished run; choose another --out, or --force to train it again")
    interrupted = saved.exists() and not finished
    if interrupted and not (resume or force):
        raise RunError(f"{folder}: holds an interrupted run; --resume goes on with it, --force begins anew")
    before = checkpoint.load(saved) if resume and interrupted else None
    if before:
        moved = PLACES if before.origin else ()
        require_same_settings(recipe, load_recipe_json(folder), folder, moved)
        _check_same_images(splits, folder)
        _check_same_origin(origin, before.origin, folder)
    team.told(None)  # everyone has looked
    if team.leads:
        sweep(folder)
        if not before:
            _begin(splits, folder)
        write_json(folder / "recipe.json", recipe.model_dump(mode="json"))  # with the places where things are now
    return before


def _begin(splits: WrittenSplits, folder: Path) -> None:
    """Nothing is left of the run that was here before, if any."""
    for name in ("result.json", "checkpoint.pt", "metrics.jsonl", "failure.pt"):
        (folder / name).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_splits(folder / "splits.json", splits)


def finish(
    folder: Path,
    recipe: Recipe,
    model: Classifier,
    data: TrainingData,
    teachers: Sequence[Teacher],
    theirs: Tensor | None,
    seconds: float,
) -> Run:
    """The run, its biases and temperature fitted and its result.json written.

    `theirs` are the teachers' logits (N, K) on the validation split, where there are teachers.
    """
    model.eval()
    if recipe.distill.match_prior:
        match_prior(model, data.splits.open("pool").images, data.validation_labels)
    logits = logits_of(model, data.validation.images)
    model.temperature.fill_(fit_temperature(logits.double().numpy(), data.validation_labels.numpy()))
    temperature = model.temperature.item()
    metrics: dict[str, Any] = {"accuracy": accuracy(logits, data.validation_labels)._asdict()}
    metrics |= calibration(logits, data.validation_labels, temperature)
    if theirs is not None:
        metrics |= closeness(logits, temperature, theirs, together(teachers).temperature)
    model.cpu()
    last = checkpoint.load(folder / "checkpoint.pt")
    checkpoint.save(folder / "checkpoint.pt", replace(last, model=model.state_dict()))
    result = {
        "format": FORMAT,
        "name": recipe.name,
        "classes": list(data.classes),
        "input": model.input._asdict(),
        "resize": Preprocess.of(recipe.data).resize,
        "temperature": temperature,
        "parameters": parameters(model),
        "multiply_adds": multiply_adds(model),
        "seed": recipe.seed,
        "steps": last.step,
        "seconds": round(seconds, 1),
        "metrics": {f"validation_{name}": value for name, value in metrics.items()},
        "images": data.counts,
        "data": data.sha256,
        "teachers": [_from_here(teacher.described(), folder) for teacher in teachers],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("pupil", "torch")}},
    }
    write_json(folder / "result.json", result)
    return Run(folder, recipe, model, result)


def _from_here(teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A teacher's description, its folder seen from the student's."""
    seen = {kind: os.path.relpath(teacher[kind], folder) for kind in ("run", "bundle") if kind in teacher}
    return teacher | seen


def origin(data: TrainingData, teachers: Sequence[Teacher]) -> dict[str, str]:
    """SHA-256, by name, of the images with their labels and of the teachers' weights."""
    theirs = {f"teacher {number}": fingerprint(teacher) for number, teacher in enumerate(teachers, start=1)}
    return data.sha256 | theirs


def _check_same_origin(ours: Mapping[str, str], before: Mapping[str, str], folder: Path) -> None:
    """Raises RunError where a label or a teacher's weights are no longer those that the run began with."""
    differ = [name for name in sorted(before.keys() | ours.keys()) if ours.get(name) != before.get(name)]
    if before and differ:
        raise RunError(
            f"{folder}: cannot resume, {', '.join(differ)} changed since it was begun; put it back, or --force"
        )


def require_same_settings(recipe: Recipe, before: Recipe, folder: Path, moved: Sequence[str] = ()) -> None:
    """Raises RunError for settings that would make it another run; those of `moved` may name another place."""
    ours, theirs = _flat(recipe.model_dump(mode="json")), _flat(before.model_dump(mode="json"))
    differ = [
        f"{name}={ours.get(name)} (it was {theirs.get(name)})"
        for name in theirs | ours
        if ours.get(name) != theirs.get(name)
        and name not in SAME_BITS
        and not (name in moved and ours.get(name) and theirs.get(name))
    ]
    if differ:
        raise RunError(f"{folder}: cannot resume with other settings: {', '.join(differ)}")


def _check_same_images(splits: WrittenSplits, folder: Path) -> None:
    """By their bytes, in their order: names outside of data.root change with the place."""
    written = read_splits(folder / "splits.json")
    before, now = ({name: split.sha256 for name, split in each.splits.items()} for each in (written, splits))
    differ = [name for name in before.keys() | now.keys() if before.get(name) != now.get(name)]
    if differ:
        raise RunError(f"{folder}: cannot resume, the images of {', '.join(sorted(differ))} are no longer the same")


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
