import copy

import pytest
import torch
from torch import nn

from pupil_training.muon import Muon, orthogonal
from pupil_training.optim import build_optimizer
from pupil_training.settings import OptimSettings

MUON = OptimSettings(name="muon", learning_rate=0.1, momentum=0.6, weight_decay=0.01)


def spread(*sides: int, values: tuple[float, ...]) -> torch.Tensor:
    """A matrix with these singular values."""
    u, _, v = torch.linalg.svd(torch.randn(*sides, generator=torch.manual_seed(0)), full_matrices=False)
    return u @ torch.tensor(values).diag() @ v


@pytest.mark.parametrize("sides", [(3, 40), (40, 3), (3, 3)])
def test_a_step_is_as_long_in_its_weakest_direction_as_in_its_strongest(sides: tuple[int, int]) -> None:
    matrix = spread(*sides, values=(10.0, 1.0, 0.1))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    found = u.T @ orthogonal(matrix) @ v.T  # in the directions of the matrix itself
    assert found.diag().min() > 0.65
    assert found.diag().max() < 1.25
    assert (found - found.diag().diag()).abs().max() < 1e-3  # which it keeps


def test_no_gradient_is_no_step_and_no_division_by_zero() -> None:
    assert not orthogonal(torch.zeros(4, 9)).any()


def test_a_convolution_moves_by_the_rate_from_a_kernel_of_length_one_an_output() -> None:
    layer = nn.Conv2d(6, 4, 3, bias=False)
    before = layer.weight.detach().clone()
    optimizer = build_optimizer([(layer, 1.0)], MUON)
    layer.weight.grad = torch.randn_like(layer.weight)
    optimizer.step()
    scaled = before * 2 / before.norm()  # sqrt(4 outputs)
    steps = torch.linalg.svdvals((scaled - layer.weight.detach()).flatten(1)) / MUON.learning_rate
    assert steps.min() > 0.65
    assert steps.max() < 1.25


def test_all_other_weights_learn_as_sgd_has_it() -> None:
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4))
    theirs = copy.deepcopy(ours)
    pairs = [(ours, build_optimizer([(ours, 1.0)], MUON))]
    pairs += [(theirs, build_optimizer([(theirs, 1.0)], MUON.model_copy(update={"name": "sgd"})))]
    for step in range(3):
        x = torch.randn(8, 5, generator=torch.manual_seed(step))
        for net, optimizer in pairs:
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_what_it_remembers_is_kept_in_a_checkpoint() -> None:
    torch.manual_seed(0)
    first = nn.Conv2d(2, 3, 3)
    first_optimizer = build_optimizer([(first, 1.0)], MUON)

    def learn(layer: nn.Conv2d, optimizer: torch.optim.Optimizer, step: int) -> None:
        optimizer.zero_grad()
        layer(torch.randn(2, 2, 5, 5, generator=torch.manual_seed(step))).square().sum().backward()
        optimizer.step()

    learn(first, first_optimizer, 1)
    second = copy.deepcopy(first)
    second_optimizer = build_optimizer([(second, 1.0)], MUON)
    second_optimizer.load_state_dict(copy.deepcopy(first_optimizer.state_dict()))
    for layer, optimizer in ((first, first_optimizer), (second, second_optimizer)):
        learn(layer, optimizer, 2)
    assert isinstance(second_optimizer, Muon)
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)
