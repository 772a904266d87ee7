"""Nets of fully connected layers: one layer whose weights are pictures, and several with max-norm."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from pupil_training.loop import train
from pupil_training.models import InputSize, build_net
from pupil_training.models.cost import parameters
from pupil_training.models.mlp import MaxNormLinear
from pupil_training.recipe import Recipe
from pupil_training.runs import Run, load_run
from pupil_training.settings import ModelSettings

MakeRecipe = Callable[..., Recipe]
DIGIT = InputSize(28, 28, 1)


def net(size: InputSize = DIGIT, **settings: object) -> nn.Module:
    return build_net(ModelSettings.model_validate(settings), size, 10)


def test_the_perceptron_has_a_weight_a_pixel_and_class() -> None:
    assert parameters(net(name="linear")) == 28 * 28 * 10 + 10
    assert net(name="linear", size=InputSize(9, 5, 3))(torch.zeros(2, 3, 9, 5)).shape == (2, 10)


def test_the_defaults_are_hintons_student_and_widths_give_his_teacher() -> None:
    assert parameters(net(name="mlp")) == 785 * 800 + 801 * 800 + 801 * 10
    assert parameters(net(name="mlp", widths=[1200, 1200])) == 785 * 1200 + 1201 * 1200 + 1201 * 10


def test_pixels_and_hidden_units_drop_out_at_their_own_rates() -> None:
    layers = net(name="mlp", widths=[30, 20], dropout=0.5, input_dropout=0.2).children()
    assert [layer.p for layer in layers if isinstance(layer, nn.Dropout)] == [0.2, 0.5, 0.5]


def test_the_perceptron_learns_bars(recipe: MakeRecipe, tmp_path: Path) -> None:
    run = train(recipe(name="linear", model={"name": "linear"}, steps=60), tmp_path)
    assert load_run(run.folder).model.net[1].weight.shape == (3, 28 * 28)
    assert run.result["metrics"]["validation_accuracy"]["right"] > 6  # of 12, four a class


def lengths(run: Run) -> torch.Tensor:
    """Of the weights into each hidden unit."""
    return run.model.net[2].weight.norm(dim=1)


def test_no_step_leaves_a_hidden_unit_with_longer_weights_than_max_norm(recipe: MakeRecipe, tmp_path: Path) -> None:
    settings = {"name": "mlp", "widths": [16]}
    free = train(recipe(model=settings), tmp_path / "free")
    bound = train(recipe(model={**settings, "max_norm": 0.5}), tmp_path / "bound")
    assert lengths(free).max() > 0.55
    assert lengths(bound).max() <= 0.5 + 1e-6
    assert lengths(bound).min() > 0
    assert bound.model.net[5].weight.norm(dim=1).max() > 0.5  # the last layer's units are not hidden


def test_max_norm_shortens_only_what_is_too_long() -> None:
    layer = MaxNormLinear(2, 2, longest=2.0)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 4.0], [0.6, 0.8]]))
    layer.requires_grad_(False)
    layer.after_step()
    assert layer.weight.tolist() == [[3.0, 4.0], [pytest.approx(0.6), pytest.approx(0.8)]]  # frozen: as it was
    layer.requires_grad_(True)
    layer.after_step()
    assert torch.allclose(layer.weight, torch.tensor([[1.2, 1.6], [0.6, 0.8]]))
