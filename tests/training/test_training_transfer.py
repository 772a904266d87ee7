"""Weights from elsewhere, and how fast they change."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from pupil_training.errors import RecipeError
from pupil_training.loop import train
from pupil_training.models import InputSize, build_net
from pupil_training.models.stages import head, stages
from pupil_training.recipe import Recipe, parse_recipe
from pupil_training.runs import Run
from pupil_training.settings import ModelSettings, TransferSettings
from pupil_training.student import new_student
from pupil_training.transfer import Thaw, rates

MakeRecipe = Callable[..., Recipe]
TWO = {"only": ["level", "upright"]}
VGG = {"name": "vgg", "widths": [8, 16], "convolutions": 1, "dropout": 0.2}  # the teacher's


def photo_recipe(name: str, weights: Path) -> Recipe:
    data = {"height": 64, "width": 64, "channels": 3}
    return parse_recipe({"model": {"name": name, "weights": weights}, "data": data}, "here")


IMAGES = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)


def test_pretrained_weights_fill_all_but_a_head_of_another_size(tmp_path: Path) -> None:
    source = torchvision.models.resnet18(num_classes=6)
    torch.save(source.state_dict(), tmp_path / "resnet18.pt")
    model = new_student(photo_recipe("torchvision/resnet18", tmp_path / "resnet18.pt"), IMAGES, tuple("abcd"))
    assert torch.equal(model.net.get_parameter("layer4.1.conv2.weight"), source.layer4[1].conv2.weight)
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torchvision.models.resnet34(num_classes=4).state_dict(), "another architecture; .* tensors do not fit"),
        ({"fc.weight": torch.full((2,), float("nan"))}, "'fc.weight' holds NaN"),
        (["no", "weights"], "not a state dict"),
    ],
)
def test_weights_that_cannot_be_taken_over_are_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(RecipeError, match=message):
        new_student(photo_recipe("torchvision/resnet50", tmp_path / "weights.pt"), IMAGES, tuple("abcd"))


def test_a_file_of_weights_that_is_missing_or_no_such_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"text\.pt: no such file of pretrained weights"):
        new_student(photo_recipe("torchvision/resnet18", tmp_path / "text.pt"), IMAGES, tuple("abcd"))
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(RecipeError, match=r"text\.pt: not a readable state dict"):
        new_student(photo_recipe("torchvision/resnet18", tmp_path / "text.pt"), IMAGES, tuple("abcd"))


@pytest.mark.parametrize(
    "name",
    [
        *("linear", "mlp", "lenet5", "lenet5-1998", "alexnet", "vgg", "vgg11", "vgg11-bn", "resnet20", "wrn-10-1"),
        *("airbench", "torchvision/resnet18"),
    ],
)
def test_the_stages_of_a_net_hold_every_weight_once_and_end_in_its_head(name: str) -> None:
    channels = 3 if "/" in name else 1
    net = build_net(ModelSettings(name=name), InputSize(32, 32, channels), 5)
    together = [id(parameter) for stage in stages(net) for parameter in stage.parameters()]
    assert sorted(together) == sorted(id(parameter) for parameter in net.parameters())
    assert stages(net)[-1] is head(net)


def body(model: nn.Module) -> dict[str, torch.Tensor]:
    """Every tensor before the head."""
    return {name: value for name, value in model.net.state_dict().items() if not name.startswith("13.")}


def test_head_only_leaves_every_other_tensor_as_it_was_batch_norms_included(
    recipe: MakeRecipe, teacher_run: Run, tmp_path: Path
) -> None:
    transfer = {"run": teacher_run.folder, "mode": "head"}
    student = train(recipe(data=TWO, model=VGG, transfer=transfer, steps=40, eval_every=20), tmp_path).model
    ours, theirs = body(student), body(teacher_run.model)
    assert len(ours) == 12 + 2
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert torch.equal(student.mean, teacher_run.model.mean)
    assert student.classes == ("level", "upright")


def test_the_whole_net_learns_slowly_below_and_fast_at_the_head(
    recipe: MakeRecipe, teacher_run: Run, tmp_path: Path
) -> None:
    settings = recipe(data=TWO, model=VGG, transfer={"run": teacher_run.folder, "body_rate": 0.01})
    student = new_student(settings, teacher_run.load_split("train").images, ("level", "upright"))
    factors = [factor for _, factor in rates(student, settings)]
    assert factors == [0.01] * (len(factors) - 1) + [1.0]
    moved = train(settings, tmp_path).model
    ours, theirs = body(moved), body(teacher_run.model)
    assert all(not torch.equal(ours[name], theirs[name]) for name in theirs if "num_batches" not in name)


def test_layers_thaw_one_by_one_from_the_head_down(teacher_run: Run) -> None:
    model = new_student(teacher_run.recipe, teacher_run.load_split("train").images, teacher_run.classes).train()
    thaw = Thaw(model, TransferSettings(mode="gradual", unfreeze_every=10))
    learning = []
    for step in (1, 10, 11, 21, 31, 999):
        thaw.at(step)
        learning.append([next(stage.parameters()).requires_grad for stage in stages(model.net)].count(True))
        frozen = [stage for stage in stages(model.net) if not next(stage.parameters()).requires_grad]
        assert not any(stage.training for stage in frozen)
    assert learning == [1, 1, 2, 3, 4, 6]
    model.eval().train()
    assert all(stage.training for stage in stages(model.net))


def test_a_gradual_run_ends_with_everything_moved(recipe: MakeRecipe, teacher_run: Run, tmp_path: Path) -> None:
    transfer = {"run": teacher_run.folder, "mode": "gradual", "unfreeze_every": 2}
    student = train(recipe(data=TWO, model=VGG, transfer=transfer), tmp_path).model
    first = "net.0.weight"
    assert not torch.equal(student.state_dict()[first], teacher_run.model.state_dict()[first])


def test_a_run_of_another_architecture_is_refused(recipe: MakeRecipe, teacher_run: Run, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="weights of another architecture"):
        train(recipe(model={"name": "lenet5"}, transfer={"run": teacher_run.folder}), tmp_path)
