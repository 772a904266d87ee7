"""Hints and attention: what is watched, what it costs the nets, and what is left behind."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pupil_training import checkpoint
from pupil_training.data.feed import Batch
from pupil_training.errors import RecipeError
from pupil_training.loop import train
from pupil_training.losses import attention_loss, hint_loss
from pupil_training.models import Classifier
from pupil_training.models.layers import shapes, watched
from pupil_training.objectives.build import build_objective
from pupil_training.objectives.objective import Objective
from pupil_training.pixels import to_pixels
from pupil_training.recipe import Recipe, parse_recipe
from pupil_training.runs import Run, new_classifier
from pupil_training.settings import DataSettings, ModelSettings
from pupil_training.teachers import load_teachers

MakeRecipe = Callable[..., Recipe]
CPU = torch.device("cpu")
BOTH = {"hint": {"net.4": "net.4"}, "attention": {"net.1": "net.2"}}  # lenet5's convolutions; vgg's blocks


def maps(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def state(model: nn.Module) -> str:
    whole = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        whole.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return whole.hexdigest()


def hooks(model: nn.Module) -> int:
    return sum(len(layer._forward_hooks) for layer in model.modules())


def slow_attention(features: np.ndarray) -> np.ndarray:
    """(H, W) of one picture's map (C, H, W)."""
    _, height, width = features.shape
    seen = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            seen[row, column] = sum(value**2 for value in features[:, row, column])
    return seen / np.sqrt((seen**2).sum())


def test_attention_is_what_plain_loops_give() -> None:
    ours, theirs = maps(1, 2, 3, 4, 5), maps(2, 2, 7, 4, 5)
    pairs = zip(ours.double().numpy(), theirs.double().numpy(), strict=True)
    expected = np.mean([(slow_attention(a) - slow_attention(b)) ** 2 for a, b in pairs])
    assert attention_loss(ours, theirs).item() == pytest.approx(float(expected), rel=1e-4)


def test_attention_matches_an_example_worked_by_hand_and_has_no_size() -> None:
    ours = torch.tensor([[[[3.0, 0.0]], [[0.0, 2.0]]]])  # squares 9 and 4
    theirs = torch.tensor([[[[0.0, 1.0]]]])
    length = (81 + 16) ** 0.5
    expected = ((9 / length) ** 2 + (4 / length - 1) ** 2) / 2
    assert attention_loss(ours, theirs).item() == pytest.approx(expected, rel=1e-5)
    assert attention_loss(ours, 5 * ours).item() == pytest.approx(0, abs=1e-12)


def test_a_larger_map_is_averaged_down_to_the_smaller_one() -> None:
    ours = torch.arange(16.0).reshape(1, 1, 4, 4)
    theirs = torch.tensor([[[[2.5, 4.5], [10.5, 12.5]]]])  # means of 2×2 places
    assert hint_loss(ours, theirs).item() == hint_loss(theirs, ours).item() == 0
    assert hint_loss(ours, theirs + 2).item() == pytest.approx(4)
    assert attention_loss(ours, theirs).item() == pytest.approx(0, abs=1e-12)


def test_a_layer_that_sees_nothing_has_a_finite_gradient() -> None:
    dead = torch.zeros(2, 3, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(attention_loss(dead, maps(0, 2, 3, 4, 4)), dead)
    assert gradient.isfinite().all()


def test_watching_keeps_what_a_layer_gave_even_where_the_next_one_works_in_place() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    pixels = maps(0, 5, 3)
    with watched(model, ["0", "2"]) as outputs:
        answer = model(pixels)
        assert hooks(model) == 2
    assert hooks(model) == 0
    assert torch.equal(outputs["0"], model[0](pixels))
    assert outputs["0"].min() < 0
    assert torch.equal(outputs["2"], answer)


def test_watching_ends_also_where_the_model_fails() -> None:
    model = nn.Sequential(nn.Linear(3, 4))
    with pytest.raises(RuntimeError), watched(model, ["0"]):
        model(maps(0, 5, 7))
    assert hooks(model) == 0


def test_looking_at_shapes_leaves_a_model_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    before = state(model)
    assert shapes(model, ["0", "2"], maps(0, 2, 1, 8, 8), "student") == {"0": (2, 4, 6, 6), "2": (2, 144)}
    assert state(model) == before
    assert model.training
    assert hooks(model) == 0


@pytest.fixture
def student(recipe: MakeRecipe) -> Classifier:
    torch.manual_seed(0)
    return new_classifier(ModelSettings(), DataSettings(), ("cross", "level", "upright"))


def build(recipe: Recipe, student: Classifier, run: Run) -> tuple[Objective, nn.Module]:
    """The objective of a recipe, and its teacher."""
    (teacher,) = load_teachers([str(run.folder)], student, CPU)
    assert teacher.model is not None
    return build_objective(recipe, None, student, [teacher], None, None, None, CPU), teacher.model


def batch(run: Run) -> Batch:
    images = run.load_split("test")
    return Batch(1, 0, images.images, images.labels, torch.arange(30), torch.zeros(30, dtype=torch.int64))


@pytest.mark.parametrize("method", ["kd", "dkd", "dist", "hard"])
def test_every_term_of_a_distillation_moves_the_student_and_nothing_the_teacher(
    recipe: MakeRecipe, teacher_run: Run, student: Classifier, method: str
) -> None:
    settings = recipe(distill={"teacher": teacher_run.folder, "method": method, **BOTH}, augment={"shift": 2})
    objective, teacher = build(settings, student, teacher_run)
    before = state(teacher), [parameter.requires_grad for parameter in teacher.parameters()]
    losses = objective(student.train(), batch(teacher_run))
    assert set(losses) == {"soft", "hard", "hint", "attention"}
    first = next(student.parameters())
    for name, term in losses.items():
        (gradient,) = torch.autograd.grad(term, first, retain_graph=True)
        assert gradient.abs().sum() > 1e-5, name
    projection = next(objective.own.parameters())
    (gradient,) = torch.autograd.grad(losses["hint"], projection)
    assert gradient.abs().sum() > 1e-5
    assert (state(teacher), [parameter.requires_grad for parameter in teacher.parameters()]) == before
    assert hooks(student) == hooks(teacher) == 0


def test_labels_are_smoothed_beside_a_teacher_as_they_are_without_one(
    recipe: MakeRecipe, teacher_run: Run, student: Classifier
) -> None:
    settings = recipe(smoothing=0.2, distill={"teacher": teacher_run.folder, "hard_weight": 0.3})
    objective, _ = build(settings, student, teacher_run)
    seen = batch(teacher_run)
    expected = F.cross_entropy(student.eval()(to_pixels(seen.images)), seen.targets, label_smoothing=0.2)
    assert objective(student, seen)["hard"].item() == pytest.approx(0.3 * expected.item(), rel=1e-5)


def test_hints_are_the_projected_layer_against_the_teachers(
    recipe: MakeRecipe, teacher_run: Run, student: Classifier
) -> None:
    layers = {"hint": {"net.0": "net.0", "net.10": "net.10"}, "hint_weight": 3}  # of C×H×W and of units alone
    settings = recipe(distill={"teacher": teacher_run.folder, **layers})
    objective, _ = build(settings, student, teacher_run)
    pixels = to_pixels(batch(teacher_run).images)
    ours, theirs = ((pixels - model.mean) / model.std for model in (student, teacher_run.model))
    expected = 0.0
    for place, project in ((0, objective.own[0]), (10, objective.own[1])):
        a, b = student.net[: place + 1](ours), teacher_run.model.net[: place + 1](theirs)
        projected = a.flatten(2).transpose(1, 2) if a.ndim == 4 else a[:, None]
        projected = projected @ project.weight[:, :, 0, 0].T + project.bias  # (N, places, C)
        wanted = b.flatten(2).transpose(1, 2) if b.ndim == 4 else b[:, None]
        expected += ((projected - wanted) ** 2).mean().item()
    assert objective(student.eval(), batch(teacher_run))["hint"].item() == pytest.approx(3 * expected, rel=1e-4)


def test_a_run_with_hints_keeps_no_projection_and_goes_on_bit_by_bit(
    recipe: MakeRecipe, teacher_run: Run, train_and_kill: Callable[..., None], tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in teacher_run.folder.iterdir()}
    distill = {"teacher": teacher_run.folder, **BOTH}
    settings = recipe(steps=40, eval_every=10, log_every=5, augment={"shift": 1}, distill=distill)
    whole = train(settings, tmp_path / "whole")
    assert not [name for name in whole.model.state_dict() if not name.startswith(("net.", "mean", "std", "shift", "t"))]
    assert set(checkpoint.load(tmp_path / "whole/checkpoint.pt").own) == {"0.weight", "0.bias"}
    train_and_kill(settings, tmp_path / "killed", at='"step": 15')
    resumed = train(settings, tmp_path / "killed", resume=True)
    assert state(resumed.model) == state(whole.model)
    assert '"hint":' in (tmp_path / "whole/metrics.jsonl").read_text()
    assert {path.name: path.read_bytes() for path in teacher_run.folder.iterdir()} == before


def test_layers_alone_are_enough_to_follow() -> None:
    nothing = {"teacher": "a", "hard_weight": 0, "soft_weight": 0}
    assert parse_recipe({"distill": {**nothing, "hint": {"net.0": "net.0"}}}, "here").distill.watches_layers
    with pytest.raises(RecipeError, match="nothing to learn from"):
        parse_recipe({"distill": nothing}, "here")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"hint": {"net.99": "net.0"}}, r"the student has no layer 'net\.99'; its layers are net, net\.0, net\.1"),
        ({"hint": {"net.0": "features"}}, r"the teacher has no layer 'features'; its layers are net, net\.0"),
        ({"attention": {"net.7": "net.0"}}, r"'net\.7' puts out N×C, a map with places N×C×H×W is wanted"),
        ({"attention": {"net.0": "net.12"}}, r"'net\.12' puts out N×C"),
    ],
)
def test_layers_that_do_not_fit_are_refused_before_the_run_starts(
    recipe: MakeRecipe, teacher_run: Run, tmp_path: Path, layers: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        train(recipe(distill={"teacher": teacher_run.folder, **layers}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"distill": {"logits": "cached"}}, r"watch the teacher itself: set distill\.logits = 'live'"),
        ({"distill": {}, "compile": True}, "which compile = true takes apart"),
    ],
)
def test_layers_are_watched_at_work_only(settings: dict[str, Any], message: str) -> None:
    distill = {"teacher": "a", "attention": {"net.0": "net.0"}, **settings.pop("distill")}
    with pytest.raises(RecipeError, match=message):
        parse_recipe({"distill": distill, **settings}, "here")


def test_teachers_without_layers_of_their_own_give_no_hints(
    recipe: MakeRecipe, teacher_run: Run, tmp_path: Path
) -> None:
    both = [teacher_run.folder, teacher_run.folder]
    with pytest.raises(RecipeError, match=r"need one run as teacher: teacher \+ teacher shows no layers"):
        train(recipe(distill={"teacher": both, **BOTH}), tmp_path)


def test_an_unused_layer_or_one_without_a_map_is_named() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare, self.sequence = nn.Linear(2, 2), nn.Linear(2, 2), nn.Unflatten(1, (1, 2))

        def forward(self, x: Tensor) -> Tensor:
            return self.sequence(self.used(x))[:, 0]

    assert list(shapes(Odd(), ["used"], maps(0, 3, 2), "student")) == ["used"]
    for layer, found in (("spare", "NoneType"), ("sequence", "3×1×2")):
        with pytest.raises(RecipeError, match=f"layer '{layer}' puts out {found}, where N×C×H×W or N×C is wanted"):
            shapes(Odd(), [layer], maps(0, 3, 2), "student")
