"""Runs judged one by one and against each other."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from scipy.stats import binomtest
from torch import Tensor, nn

from pupil_training.evaluate import logits_of
from pupil_training.judge.cli import evaluate
from pupil_training.loop import train
from pupil_training.recipe import Recipe
from pupil_training.runs import Run


@pytest.fixture(scope="module")
def weak_run(recipe: Callable[..., Recipe], teacher_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A student that learned too shortly to be as good as its teacher."""
    folder = tmp_path_factory.mktemp("judged") / "weak"
    return train(recipe(name="weak", steps=6, distill={"teacher": str(teacher_run.folder)}), folder)


@pytest.fixture
def other_data(bars_folder: Path, tmp_path: Path) -> Path:
    """The same pictures in another place, but fewer to test on."""
    copied = shutil.copytree(bars_folder, tmp_path / "other")
    for file in copied.glob("test/*/[4-9].png"):
        file.unlink()
    return copied


def told(*words: object) -> str:
    done = CliRunner().invoke(evaluate, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def reports(*words: object) -> list[dict]:
    return [json.loads(line) for line in told(*words, "--json").splitlines()]


def test_a_second_model_is_compared_with_the_first_image_by_image(teacher_run: Run, weak_run: Run) -> None:
    first, second = reports(teacher_run.folder, weak_run.folder)
    images = teacher_run.load_split("test")
    right = [logits_of(run.model, images.images).argmax(1) == images.labels for run in (teacher_run, weak_run)]
    only_first, only_this = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    assert only_first > only_this
    assert "against_first" not in first
    assert second["against_first"] == {
        "path": str(teacher_run.folder),
        "only_first": only_first,
        "only_this": only_this,
        "p_value": pytest.approx(binomtest(only_this, only_first + only_this).pvalue),
    }


def test_the_accuracy_of_each_class_is_told_apart(weak_run: Run) -> None:
    (report,) = reports(weak_run.folder)
    images = weak_run.load_split("test")
    predicted = logits_of(weak_run.model, images.images).argmax(1)
    for place, name in enumerate(weak_run.classes):
        mine = images.labels == place
        assert report["of_each_class"][name] == {"right": int((predicted[mine] == place).sum()), "of": int(mine.sum())}
    assert sum(counted["right"] for counted in report["of_each_class"].values()) == report["accuracy"]["right"]


def test_the_table_says_what_the_json_says(teacher_run: Run, weak_run: Run) -> None:
    table = told(teacher_run.folder, weak_run.folder).splitlines()
    first, second = reports(teacher_run.folder, weak_run.folder)
    assert table[0].split() == ["30", "test", "images", str(teacher_run.folder), str(weak_run.folder)]
    rows = {line[:45].strip(): line for line in table}
    assert f"{first['nll']:.4f}" in rows["NLL, plain → calibrated"]
    assert f"{second['uncalibrated']['ece']:.4f} → {second['ece']:.4f}" in rows["ECE, plain → calibrated"]
    assert rows["parameters"].split()[1:] == [f"{first['parameters']:,}", f"{second['parameters']:,}"]
    assert rows["agrees with its teacher"].endswith("(teacher)")
    assert f"{second['against_first']['p_value']:.3g}" in table[-1]


def test_models_of_different_images_are_not_compared(
    teacher_run: Run, recipe: Callable[..., Recipe], other_data: Path, tmp_path: Path
) -> None:
    elsewhere = train(recipe(steps=1, data={"root": str(other_data)}), tmp_path / "elsewhere")
    assert [report["accuracy"]["of"] for report in reports(teacher_run.folder, elsewhere.folder)] == [30, 12]
    assert "against_first" not in reports(teacher_run.folder, elsewhere.folder)[1]
    tables = told(teacher_run.folder, elsewhere.folder).split("\n\n")
    assert [table.split()[:3] for table in tables] == [["30", "test", "images"], ["12", "test", "images"]]


def test_the_data_may_be_elsewhere(teacher_run: Run, other_data: Path) -> None:
    (report,) = reports(teacher_run.folder, "--data", f"root={other_data}")
    assert report["accuracy"]["of"] == 12
    mistyped = CliRunner().invoke(evaluate, [str(teacher_run.folder), "--data", f"rot={other_data}"])
    assert mistyped.stderr == "Error: --data: unknown setting 'data.rot'; did you mean 'data.root'?\n"


def test_a_teacher_that_moved_away_is_left_out(weak_run: Run, tmp_path: Path) -> None:
    moved = shutil.copytree(weak_run.folder, tmp_path / "far" / "away" / "weak")
    (report,) = reports(moved)
    assert "teacher" not in report
    assert "kl" not in report
    assert report["accuracy"] == reports(weak_run.folder)[0]["accuracy"]


def test_shifts_are_a_table_and_a_picture(teacher_run: Run, weak_run: Run, tmp_path: Path) -> None:
    picture = tmp_path / "shifts.png"
    text = told(teacher_run.folder, weak_run.folder, "--shifts", "--picture", picture)
    found = [report["shifts"] for report in reports(teacher_run.folder, weak_run.folder, "--shifts")]
    assert [each["shift"] for each in found[0]] == [each["shift"] for each in found[1]]
    rows = text.partition("\n\n")[2].splitlines()
    assert len(rows) == 3 + len(found[0])  # heads, a line, the images as they are
    shares = [f"{each[-1]['accuracy']['right'] / 30:.2%}" for each in found]
    assert [cell for cell in rows[-1].split() if cell in shares] == shares
    with Image.open(picture) as image:
        assert image.format == "PNG"
        assert min(image.size) > 500


class Counting(nn.Module):
    """Notes how many pictures it is shown at once; its logits are a picture's first two values."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("place", torch.zeros(()))
        self.seen: list[int] = []

    def forward(self, pixels: Tensor) -> Tensor:
        self.seen.append(len(pixels))
        return pixels.flatten(1)[:, :2]


@pytest.mark.parametrize(("side", "count", "at_once"), [(8, 1500, [1000, 500]), (224, 60, [26, 26, 8])])
def test_pictures_are_answered_in_order_and_few_at_a_time_where_they_are_large(
    side: int, count: int, at_once: list[int]
) -> None:
    images = (torch.arange(count) % 256).byte()[:, None, None, None].expand(-1, side, side, 3)
    model = Counting()
    logits = logits_of(model, images)
    assert model.seen == at_once
    assert (logits[:, 0] * 255).round().tolist() == [i % 256 for i in range(count)]
