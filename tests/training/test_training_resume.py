"""Runs that were interrupted: what must be as it was, and that the rest follows from it bit for bit."""

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
import torch

from pupil_training import checkpoint
from pupil_training.errors import RunError
from pupil_training.loop import train
from pupil_training.recipe import Recipe
from pupil_training.runs import Run, load_run
from pupil_training.selftrain.labelling import label_pool, write_labels

MakeRecipe = Callable[..., Recipe]
Save = Callable[[Path, checkpoint.Checkpoint], None]
VGG = {"name": "vgg", "widths": [8, 16], "convolutions": 1, "dropout": 0.2}


class Interrupted(BaseException):
    """As Ctrl-C would do it."""


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Recipe, Path], None]:
    """Trains until the first checkpoint is written."""

    def run(settings: Recipe, folder: Path) -> None:
        save: Save = checkpoint.save

        def save_and_stop(path: Path, state: checkpoint.Checkpoint) -> None:
            save(path, state)
            raise Interrupted

        with monkeypatch.context() as patched, pytest.raises(Interrupted):
            patched.setattr(checkpoint, "save", save_and_stop)
            train(settings, folder)

    return run


def differing(one: Run, other: Run) -> list[str]:
    ours, theirs = one.model.state_dict(), other.model.state_dict()
    return [name for name, value in theirs.items() if not torch.equal(ours[name], value)]


@pytest.mark.parametrize(
    "settings",
    [
        {"ema": 0.9, "accumulate": 2, "augment": {"mixup": 0.3, "shift": 2}, "optim": {"clip": 1.0}},
        {"amp": "bf16", "optim": {"name": "muon"}, "augment": {"cutmix": 1.0}},
        {"amp": "fp16", "ema": 0.9, "optim": {"name": "sgd"}},
        {"transfer": {"mode": "gradual", "unfreeze_every": 4}},
        {"distill": {"hint": {"net.3": "net.3"}, "attention": {"net.0": "net.0"}}, "augment": {"randaugment": 2}},
    ],
    ids=["averaged in parts", "bf16", "fp16", "thawing", "watching"],
)
def test_whatever_it_learns_from_an_interrupted_run_ends_in_the_same_weights(
    recipe: MakeRecipe, interrupted: Callable[..., None], teacher_run: Run, tmp_path: Path, settings: dict[str, Any]
) -> None:
    for group, key in (("distill", "teacher"), ("transfer", "run")):
        if group in settings:
            settings = {**settings, group: {**settings[group], key: str(teacher_run.folder)}}
    made = recipe(model=VGG, **settings)
    whole = train(made, tmp_path / "whole")
    interrupted(made, tmp_path / "run")
    assert checkpoint.load(tmp_path / "run" / "checkpoint.pt").step == 6
    assert differing(train(made, tmp_path / "run", resume=True), whole) == []
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()


def test_a_run_that_was_killed_just_before_its_result_ends_in_the_same_shift(
    recipe: MakeRecipe, tmp_path: Path
) -> None:
    settings = recipe(data={"leave_out": ["cross"]}, distill={"match_prior": True})
    whole = train(settings, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    assert whole.model.shift.abs().max() > 0.01
    assert differing(train(settings, tmp_path / "run", resume=True), whole) == []


def test_a_run_is_not_resumed_without_a_layer_that_it_followed(
    recipe: MakeRecipe, interrupted: Callable[..., None], teacher_run: Run, tmp_path: Path
) -> None:
    distill = {"teacher": str(teacher_run.folder)}
    interrupted(recipe(model=VGG, distill={**distill, "attention": {"net.0": "net.0"}}), tmp_path / "run")
    with pytest.raises(RunError, match=r"other settings: distill\.attention\.net\.0=None \(it was net\.0\)"):
        train(recipe(model=VGG, distill=distill), tmp_path / "run", resume=True)


def test_a_run_is_not_resumed_with_another_teacher_in_the_same_place(
    recipe: MakeRecipe, interrupted: Callable[..., None], tmp_path: Path
) -> None:
    train(recipe(), tmp_path / "teacher")
    settings = recipe(distill={"teacher": str(tmp_path / "teacher")})
    interrupted(settings, tmp_path / "run")
    train(recipe(seed=1), tmp_path / "teacher", force=True)
    with pytest.raises(RunError, match="cannot resume, teacher 1 changed since it was begun"):
        train(settings, tmp_path / "run", resume=True)


def test_a_run_is_resumed_where_its_images_its_teacher_and_itself_lie_by_now(
    recipe: MakeRecipe, interrupted: Callable[..., None], bars_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(bars_folder, tmp_path / "images")
    train(recipe(), tmp_path / "teacher")

    def there(place: Path) -> Recipe:
        return recipe(data={"root": place / "images"}, distill={"teacher": str(place / "teacher")})

    whole = train(there(tmp_path), tmp_path / "whole")
    interrupted(there(tmp_path), tmp_path / "run")
    disk = tmp_path / "other disk"
    disk.mkdir()
    for name in ("images", "teacher", "run"):
        (tmp_path / name).rename(disk / name)
    resumed = train(there(disk), disk / "run", resume=True)
    assert differing(resumed, whole) == []
    assert load_run(disk / "run").recipe.data.root == disk / "images"
    assert resumed.result["teachers"][0]["run"] == "../teacher"


def test_a_run_is_not_resumed_with_pseudo_labels_that_it_did_not_begin_with(
    recipe: MakeRecipe, interrupted: Callable[..., None], teacher_run: Run, tmp_path: Path
) -> None:
    labelled, pool = label_pool(teacher_run, recipe(selftrain={"guarantee": "none"}), fingerprint="")
    write_labels(tmp_path / "labels.jsonl", labelled, pool)
    interrupted(recipe(), tmp_path / "run")
    with pytest.raises(RunError, match="cannot resume, pseudo-labelled changed since it was begun"):
        train(recipe(labels={"file": tmp_path / "labels.jsonl"}), tmp_path / "run", resume=True)


def test_a_run_is_not_resumed_where_an_image_got_another_label(
    recipe: MakeRecipe, interrupted: Callable[..., None], bars_folder: Path, tmp_path: Path
) -> None:
    table = tmp_path / "images.csv"
    paths = sorted((bars_folder / "train").glob("*/*.png"))
    rows = [(path, path.parent.name, "train" if i % 4 else "validation") for i, path in enumerate(paths)]

    def write() -> None:
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([("path", "label", "split"), *rows])

    write()
    settings = recipe(data={"source": "table", "table": table, "calibration": 0})
    interrupted(settings, tmp_path / "run")
    rows[1] = (paths[1], "level", "train")
    write()
    with pytest.raises(RunError, match="cannot resume, train changed since it was begun"):
        train(settings, tmp_path / "run", resume=True)


def test_a_run_is_resumed_with_the_same_pseudo_labels_wherever_they_lie_and_with_no_others(
    recipe: MakeRecipe, interrupted: Callable[..., None], teacher_run: Run, tmp_path: Path
) -> None:
    settings = recipe(selftrain={"guarantee": "none"})
    labelled, pool = label_pool(teacher_run, settings, fingerprint="")
    first, moved, other = (tmp_path / name for name in ("first.jsonl", "moved.jsonl", "other.jsonl"))
    write_labels(first, labelled, pool)
    interrupted(recipe(labels={"file": first}), tmp_path / "run")
    first.rename(moved)
    rows = [json.loads(line) for line in moved.read_text().splitlines()]
    rows[3]["label"] = next(name for name in pool.classes if name != rows[3]["label"])
    other.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(RunError, match="cannot resume, pseudo-labelled changed since it was begun"):
        train(recipe(labels={"file": other}), tmp_path / "run", resume=True)
    resumed = train(recipe(labels={"file": moved}), tmp_path / "run", resume=True)
    assert resumed.result["images"]["pseudo-labelled"] == 12


def test_what_killed_writers_left_is_swept_away(
    recipe: MakeRecipe, interrupted: Callable[..., None], tmp_path: Path
) -> None:
    interrupted(recipe(), tmp_path)
    (tmp_path / ".checkpoint.pt.4242").write_bytes(b"half a checkpoint")
    (tmp_path / ".notes.txt").write_text("of a person")
    (tmp_path / ".before.2025").mkdir()
    train(recipe(), tmp_path, resume=True)
    assert sorted(path.name for path in tmp_path.glob(".*")) == [".before.2025", ".notes.txt"]


def test_tensorboard_shows_no_step_twice_after_a_resume(
    recipe: MakeRecipe, interrupted: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `purge_step`, from which on it forgets what it was told before."""
    began: list[int] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            began.append(purge_step)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            assert step >= began[-1]

        def close(self) -> None: ...

    board = SimpleNamespace(SummaryWriter=SummaryWriter)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", cast("ModuleType", board))
    interrupted(recipe(tensorboard=True), tmp_path)
    train(recipe(tensorboard=True), tmp_path, resume=True)
    assert began == [1, 7]


def test_answers_that_are_no_numbers_leave_the_last_good_checkpoint(recipe: MakeRecipe, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="after step 1 the model's answers are no numbers any more"):
        train(recipe(steps=1, optim={"name": "sgd", "learning_rate": 1e30}), tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()
    with pytest.raises(RunError, match="unfinished"):
        load_run(tmp_path)
