"""`pupil train`, `distill`, `evaluate` and `report` as a user meets them."""

import importlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from pupil_training.cli import distill, train
from pupil_training.commands import brought_by
from pupil_training.errors import NotInstalled
from pupil_training.evaluate import logits_of
from pupil_training.judge.cli import evaluate
from pupil_training.report.cli import report
from pupil_training.runs import Run, load_run

SMALL = ["steps=12", "batch_size=8", "eval_every=6", "data.validation=0.2", "data.calibration=0.2"]
Invoke = Callable[..., Result]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Invoke:
    """Runs a command in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return lambda command, *words: CliRunner().invoke(command, [str(word) for word in words])


@pytest.fixture
def tiny_recipe(tmp_path: Path, bars_folder: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(f'[data]\nroot = "{bars_folder}"')
    return path


def test_train_then_distill_then_evaluate(invoke: Invoke, tiny_recipe: Path, teacher_run: Run, tmp_path: Path) -> None:
    assert invoke(train, tiny_recipe, *SMALL).stdout == "runs/tiny\n"
    teacher = f"distill.teacher={teacher_run.folder}"
    told = invoke(distill, tiny_recipe, *SMALL, teacher, "distill.temperature=2", "--out", "student")
    assert told.stdout == "student\n"
    assert "loss = 0.1 · CE(labels) + 0.9 · 2.0² · KL(teacher ‖ student)" in told.stderr
    reports = [json.loads(line) for line in invoke(evaluate, "runs/tiny", "student", "--json").stdout.splitlines()]
    assert [report["path"] for report in reports] == ["runs/tiny", "student"]
    assert "agreement" not in reports[0]
    assert (reports[1]["teacher"], reports[1]["agreement"]["of"]) == ("teacher", 30)


def test_a_run_without_a_terminal_says_what_it_learns_from_and_how_far_it_is(
    invoke: Invoke, tmp_path: Path, bars_folder: Path
) -> None:
    """Who forgets the input's size sees what becomes of his pictures, and a log file shows that the run lives."""
    shutil.copytree(bars_folder, tmp_path / "coloured")
    for file in (tmp_path / "coloured").rglob("*.png"):
        Image.open(file).resize((50, 40)).convert("RGB").save(file)
    (tmp_path / "coloured/train/cross/broken.png").write_bytes(b"broken")
    (tmp_path / "tiny.toml").write_text('data.root = "coloured"\ndata.unreadable = "skip"')
    data, *steps, _ = invoke(train, "tiny.toml", *SMALL).stderr.splitlines()
    first = load_run(tmp_path / "runs/tiny").load_split("validation").pictures[0].name
    assert data == (
        "36 train, 12 validation images of 3 classes; 1 left out, unreadable: splits.json names them; "
        f"{first}, 50×40 in colour, becomes 28×28 in grey"
    )
    assert [line.partition(":")[0] for line in steps] == ["step 6 of 12", "step 12 of 12"]
    assert "accuracy=" in steps[0]


def test_an_interrupt_says_how_to_go_on(
    invoke: Invoke, tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pupil_training.loop.finish", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    told = invoke(train, tiny_recipe, *SMALL)
    assert "runs/tiny: the same command with --resume goes on from its last evaluation" in told.stderr
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert invoke(train, tiny_recipe, *SMALL, "--resume").stdout == "runs/tiny\n"


def test_evaluate_says_what_scikit_learn_says(invoke: Invoke, teacher_run: Run) -> None:
    report = json.loads(invoke(evaluate, teacher_run.folder, "--json").stdout)
    images = teacher_run.load_split("test")
    assert images.labels is not None
    run = load_run(teacher_run.folder)
    logits, labels = logits_of(run.model, images.images).double(), images.labels.numpy()
    for found, temperature in ((report, run.model.temperature.item()), (report["uncalibrated"], 1.0)):
        scores = (logits / temperature).softmax(1).numpy()
        assert found["nll"] == pytest.approx(log_loss(labels, scores))
        assert found["brier"] == pytest.approx(brier_score_loss(labels, scores, scale_by_half=False))
        assert 0 <= found["ece_equal_mass"] <= 1
    assert report["accuracy"] == {"right": accuracy_score(labels, logits.argmax(1), normalize=False), "of": 30}
    low, high = report["interval"]
    assert 0 < low < report["accuracy"]["right"] / 30 <= high <= 1
    assert "30 test images" in invoke(evaluate, teacher_run.folder).stdout


def test_evaluate_judges_only_what_has_labels(invoke: Invoke, teacher_run: Run) -> None:
    assert invoke(evaluate, teacher_run.folder, "--split", "pool").stderr == (
        "Error: the pool split has no labels to judge by\n"
    )
    assert "'exam' is not a split" in invoke(evaluate, teacher_run.folder, "--split", "exam").stderr


def test_a_library_that_is_missing_is_answered_with_the_line_that_installs_it() -> None:
    answer = r"drawing needs no_such_library: pip install 'pupil\[report\]'"
    with pytest.raises(NotInstalled, match=answer), brought_by("report", "drawing"):
        importlib.import_module("no_such_library")


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        (train, ["nowhere.toml"], "nowhere.toml: no such recipe"),
        (train, ["tiny.toml", "optim.learning_rat=1"], "did you mean 'optim.learning_rate'?"),
        (train, ["tiny.toml", "data.root=nowhere"], "nowhere/train: no such folder"),
        (train, ["tiny.toml", "model.name=lenet"], "no model is called 'lenet'"),
        (train, ["tiny.toml", "distill.teacher=nowhere"], "nowhere: not a run"),
        (distill, ["tiny.toml"], "names no teacher: add distill.teacher=RUN"),
        (distill, ["tiny.toml", "distill.teacher=nowhere", *SMALL], "nowhere: not a run"),
        (evaluate, ["nowhere"], "nowhere: not a run"),
        (evaluate, ["nowhere", "--picture", "shifts.png"], "--picture draws the shifts: add --shifts"),
        (report, ["nowhere", "--output", "report.html"], "nowhere: not a run"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    invoke: Invoke, tiny_recipe: Path, command: click.Command, words: list[str], message: str
) -> None:
    told = invoke(command, *words)
    assert told.exit_code == 1
    assert told.stderr.splitlines()[-1].startswith("Error: ")
    assert message in told.stderr
    assert told.stdout == ""


@pytest.mark.parametrize("command", [train, distill, evaluate, report])
def test_every_help_ends_with_an_example(invoke: Invoke, command: click.Command) -> None:
    *_, head, example = invoke(command, "--help").stdout.splitlines()
    assert head.strip() == "Example:"
    assert example.strip().startswith(f"pupil {command.name} ")
