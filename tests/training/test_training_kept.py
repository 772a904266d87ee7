"""A teacher's answers kept on disk: what they hold, who may use them, and what they save."""

import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pupil_training.augment import Views, views_of
from pupil_training.data.feed import Batch
from pupil_training.data.training import TrainingData, gather
from pupil_training.errors import RecipeError, TeacherError
from pupil_training.loop import train
from pupil_training.recipe import Recipe, parse_recipe
from pupil_training.runs import Run, load_run
from pupil_training.teachers import Teacher
from pupil_training.teachers.answers import Answers, load, save
from pupil_training.teachers.kept import kept_answers
from pupil_training.teachers.run_teacher import RunTeacher
from pupil_training.team import Team

MakeRecipe = Callable[..., Recipe]
CPU = torch.device("cpu")
TRAIN = (
    "import sys; from pathlib import Path; from pupil_training import Recipe, train;"
    "train(Recipe.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))"
)


def logits(images: int, classes: int, spread: float = 3.0) -> Tensor:
    return spread * torch.randn(images, classes, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("classes", "top"), [(3, 3), (10, 10), (12, 10), (300, 10), (40_000, 5)])
def test_answers_keep_the_best_scores_and_spread_the_rest_evenly(classes: int, top: int) -> None:
    whole = logits(20, classes).double().softmax(1)
    answers = Answers.room(10, 2, classes, top)
    chosen, epochs = torch.arange(10).repeat(2), torch.tensor([0] * 10 + [3] * 10)  # two views: 3 is 1 again
    answers.put(chosen, epochs, whole.log().float())
    found = answers.of(chosen, epochs).double().exp()
    best = whole >= whole.topk(top).values[:, -1:]
    assert torch.allclose(found[best], whole[best], rtol=0.005)
    assert torch.allclose(found.sum(1), torch.ones(20).double(), atol=0.005)
    if top < classes:
        rest = (whole * ~best).sum(1, keepdim=True) / (classes - top)
        assert torch.allclose(found[~best], rest.expand_as(found)[~best], rtol=0.01)


def test_a_certain_teacher_stays_finite_in_sixteen_bits() -> None:
    certain = torch.zeros(2, 20)
    certain[:, 3] = 1e6
    for top in (20, 5):
        answers, chosen, epochs = Answers.room(2, 1, 20, top), torch.arange(2), torch.tensor([0, 0])
        answers.put(chosen, epochs, certain)
        found = answers.of(chosen, epochs)
        assert found.isfinite().all()
        assert torch.equal(found.softmax(1)[:, 3], torch.ones(2))


def test_answers_come_back_from_disk_as_they_went(tmp_path: Path) -> None:
    answers = Answers.room(20, 1, 30, 10)
    answers.put(torch.arange(20), torch.zeros(20, dtype=torch.int64), logits(20, 30))
    origin = {"seed": 3, "augment.shift": 2, "teachers": ["a" * 64]}
    save(tmp_path / "new/answers.pt", answers, origin)
    back = load(tmp_path / "new/answers.pt", origin)
    assert torch.equal(back.scores, answers.scores)
    assert torch.equal(back.places, answers.places)
    assert back.places.dtype == torch.uint8
    with pytest.raises(TeacherError, match=r"for something else: seed 3, not 4; augment\.shift 2, not 5; delete it"):
        load(tmp_path / "new/answers.pt", {**origin, "seed": 4, "augment.shift": 5})
    (tmp_path / "new/answers.pt").write_bytes(b"PK")
    with pytest.raises(TeacherError, match="damaged, or not a teacher's answers"):
        load(tmp_path / "new/answers.pt", origin)


class Counted:
    """A run teacher that counts the images it is asked about."""

    def __init__(self, teacher: RunTeacher) -> None:
        self.name, self.temperature, self.model = teacher.name, teacher.temperature, teacher.model
        self.described = teacher.described
        self.asked = 0
        self._teacher = teacher

    def __call__(self, pixels: Tensor) -> Tensor:
        self.asked += len(pixels)
        return self._teacher(pixels)


@pytest.fixture
def teacher(teacher_run: Run) -> Counted:
    return Counted(RunTeacher.load(teacher_run.folder, CPU))


def keep(recipe: Recipe, folder: Path, teacher: Teacher) -> tuple[Answers, TrainingData]:
    data = gather(recipe)
    answers = kept_answers(recipe, folder, data, [teacher], Team(), CPU)
    assert answers is not None
    return answers, data


@pytest.fixture
def settings(recipe: MakeRecipe, teacher_run: Run) -> MakeRecipe:
    """A recipe that learns from three views of each of the 36 images."""

    def make(**more: Any) -> Recipe:
        distill = {"teacher": teacher_run.folder, "logits": "views", "views": 3, **more.pop("distill", {})}
        return recipe(**{"augment": {"shift": 3, "rotate": 10}, "distill": distill, **more})

    return make


def test_a_view_is_answered_as_the_teacher_does_live_whichever_round_it_is(
    settings: MakeRecipe, teacher: Counted, tmp_path: Path
) -> None:
    recipe = settings()
    answers, data = keep(recipe, tmp_path / "run", teacher)
    chosen, epochs = torch.tensor([5, 0, 35, 5, 5]), torch.tensor([0, 4, 2, 3, 7])
    batch = Batch(1, 0, data.images[chosen], None, chosen, epochs)
    assert torch.equal(views_of(recipe)(batch), Views(recipe.augment, 0)(replace(batch, epochs=epochs % 3)))
    live = teacher(views_of(recipe)(batch)).log_softmax(1)
    found = answers.of(chosen, epochs)
    assert torch.allclose(found, live, atol=0.01)
    assert torch.equal(found[0], found[3])
    assert not torch.allclose(found[0], found[4], atol=0.01)


def test_answers_are_asked_for_once_and_serve_every_run_that_needs_the_same(
    settings: MakeRecipe, teacher: Counted, tmp_path: Path
) -> None:
    first, _ = keep(settings(), tmp_path / "runs/first", teacher)
    assert teacher.asked == 3 * 36
    others = settings(model={"name": "vgg", "widths": [4]}, distill={"method": "dkd", "temperature": 2}, steps=99)
    again, _ = keep(others, tmp_path / "runs/second", teacher)
    assert teacher.asked == 3 * 36
    assert torch.equal(first.scores, again.scores)
    assert len(list((tmp_path / "runs/.answers").iterdir())) == 1
    keep(settings(seed=1), tmp_path / "runs/third", teacher)  # has other views, and a file of its own
    assert teacher.asked == 6 * 36
    assert len(list((tmp_path / "runs/.answers").iterdir())) == 2


def test_plain_pictures_are_kept_whatever_the_seed(settings: MakeRecipe, teacher: Counted, tmp_path: Path) -> None:
    for seed in (0, 1):
        keep(settings(seed=seed, augment={}, distill={"logits": "cached"}), tmp_path / "run", teacher)
    assert teacher.asked == 36


@pytest.mark.parametrize(
    ("more", "differs"),
    [
        ({"seed": 1}, "seed 0, not 1"),
        ({"augment": {"shift": 2, "rotate": 10}}, r"augment\.shift 3, not 2"),
        ({"distill": {"views": 4}}, "views 3, not 4"),
        ({"distill": {"cache_top": 2}}, "top 3, not 2"),
        ({"amp": "bf16"}, "amp 'off', not 'bf16'"),
        ({"data": {"validation": 0.3}}, r"images '\w+\.\.\.\w+', not '\w+\.\.\.\w+'"),
    ],
)
def test_answers_of_another_origin_are_refused_with_what_differs(
    settings: MakeRecipe, teacher: Counted, tmp_path: Path, more: dict[str, Any], differs: str
) -> None:
    cache = {"cache": tmp_path / "cache"}
    keep(settings(distill=cache), tmp_path / "run", teacher)
    before = (tmp_path / "cache/answers.pt").read_bytes()
    with pytest.raises(TeacherError, match=rf"answers\.pt: kept for something else: {differs}; delete it, or set"):
        keep(settings(**{**more, "distill": {**more.get("distill", {}), **cache}}), tmp_path / "run", teacher)
    assert (tmp_path / "cache/answers.pt").read_bytes() == before


def test_answers_of_another_teacher_are_refused_before_the_run_starts(
    settings: MakeRecipe, recipe: MakeRecipe, tmp_path: Path
) -> None:
    train(settings(distill={"cache": tmp_path / "cache"}), tmp_path / "first")
    train(recipe(name="other"), tmp_path / "other")
    with pytest.raises(TeacherError, match="kept for something else: teachers "):
        train(settings(distill={"cache": tmp_path / "cache", "teacher": tmp_path / "other"}), tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_learning_from_kept_views_is_learning_live_from_the_same_ones(settings: MakeRecipe, tmp_path: Path) -> None:
    steps = 3 * 36 // 8  # three epochs, in which the live views are the first three
    ways = {
        "kept": {"logits": "views"},
        "live": {"logits": "live"},
        "plain": {"logits": "cached", "mismatched_views": True},
    }
    optim = {"name": "sgd", "learning_rate": 0.05}
    nets = [
        torch.cat([value.flatten() for value in train(settings(steps=steps, distill=how, optim=optim), tmp_path / name)
        .model.net.state_dict().values()]) for name, how in ways.items()
    ]  # fmt: skip
    kept, live, plain = nets
    assert (kept - live).norm() < 0.1 * (plain - live).norm()  # answers are kept in float16


def test_kept_views_teach_in_parts_and_on_the_pool_too(settings: MakeRecipe, tmp_path: Path) -> None:
    pool = {"pool": True, "hard_weight": 0}
    whole = train(settings(distill=pool), tmp_path / "whole")
    parts = train(settings(distill=pool, accumulate=4), tmp_path / "parts")
    assert whole.result["images"]["pool"] == 12
    for name, value in whole.model.net.state_dict().items():
        assert torch.allclose(value, parts.model.net.state_dict()[name], atol=1e-4), name


def test_an_answer_can_keep_the_best_class_alone(settings: MakeRecipe, teacher: Counted, tmp_path: Path) -> None:
    answers, data = keep(settings(distill={"cache_top": 1}), tmp_path / "run", teacher)
    chosen, epochs = torch.arange(36), torch.zeros(36, dtype=torch.int64)
    live = teacher(views_of(settings())(Batch(1, 0, data.images, None, chosen, epochs))).softmax(1)
    found = answers.of(chosen, epochs).softmax(1)
    assert torch.allclose(found.max(1).values, live.max(1).values, atol=1e-3)
    assert torch.equal(found.argmax(1), live.argmax(1))
    rest = found.sort(1).values[:, :2]
    assert torch.equal(rest[:, 0], rest[:, 1])


def test_a_process_that_is_killed_while_it_asks_leaves_nothing(settings: MakeRecipe, tmp_path: Path) -> None:
    recipe = settings(distill={"views": 100_000}, steps=1)
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    terminal, end = pty.openpty()  # where a progress bar shows
    termios.tcsetwinsize(end, (24, 100))
    command = [sys.executable, "-c", TRAIN, tmp_path / "recipe.json", tmp_path / "runs/run"]
    with subprocess.Popen(command, stderr=end) as process:
        os.close(end)
        shown = b""
        while b"asking teacher:" not in shown:
            shown += os.read(terminal, 1000)
        process.send_signal(signal.SIGKILL)
    os.close(terminal)
    assert process.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == [tmp_path / "recipe.json"]


def test_two_processes_share_the_answers_that_one_asked_for(settings: MakeRecipe, tmp_path: Path) -> None:
    recipe = settings(steps=6)
    alone = train(recipe, tmp_path / "alone/run")
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    (tmp_path / "program.py").write_text(TRAIN)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, tmp_path / "program.py", tmp_path / "recipe.json", tmp_path / "two/run"]
    subprocess.run(command, check=True, timeout=180, capture_output=True)
    for name, value in load_run(tmp_path / "two/run").model.net.state_dict().items():
        assert torch.allclose(value, alone.model.net.state_dict()[name], atol=1e-4), name
    (ours,), (theirs,) = ((tmp_path / name / ".answers").iterdir() for name in ("alone", "two"))
    assert ours.name == theirs.name


def test_a_disk_that_is_full_leaves_no_answers(
    settings: MakeRecipe, teacher: Counted, toolbox: Any, tmp_path: Path
) -> None:
    recipe = settings()
    data = gather(recipe)
    with toolbox.files_no_larger_than(500), pytest.raises(OSError, match=r"\.pt|too large"):
        kept_answers(recipe, tmp_path / "run", data, [teacher], Team(), CPU)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"distill": {"logits": "views"}}, r"augment is off and all views are alike: use 'cached'"),
        ({"distill": {"logits": "views"}, "augment": {"mixup": 0.2}}, "mix other pictures every time"),
        (
            {"distill": {"logits": "cached", "mismatched_views": True}, "augment": {"cutmix": 1.0}},
            "mix other pictures every time",
        ),
        ({"distill": {"logits": "cached"}, "augment": {"shift": 1}}, "use 'views' or 'live', or set"),
    ],
)
def test_views_that_cannot_be_kept_are_refused(values: dict[str, Any], message: str) -> None:
    values["distill"]["teacher"] = "runs/teacher"
    with pytest.raises(RecipeError, match=message):
        parse_recipe(values, "here")


def test_a_run_that_learned_from_kept_views_names_its_teacher(settings: MakeRecipe, tmp_path: Path) -> None:
    train(settings(), tmp_path / "run")
    back = load_run(tmp_path / "run")
    assert back.recipe.distill.views == 3
    assert back.result["teachers"][0]["name"] == "teacher"
    assert '"validation_agreement"' in (tmp_path / "run/metrics.jsonl").read_text()
