"""Muon (Jordan et al. 2024): convolutions learn by steps of one length in every direction."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

TURNS = 5  # of Newton and Schulz's iteration: all but the smallest singular values come between about 0.7 and 1.2
FACTORS = 3.4445, -4.7750, 2.0315  # of its odd polynomial of degree five, the steepest at 0


class Muon(Optimizer):
    """SGD with Nesterov momentum whose steps for convolutions are made orthogonal, as matrices of (outputs, the rest).

    Such a kernel is brought back to the length sqrt(outputs) before each step, so weight decay, which all other weights
    know, is none of its business.
    """

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, momentum: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group)

    def _move(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        if weight.ndim < 4:
            gradient = gradient.add(weight, alpha=group["weight_decay"])
        state = self.state[weight]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        mean = state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
        step = gradient.add(mean, alpha=group["momentum"])
        if weight.ndim == 4:
            weight.mul_(len(weight) ** 0.5 / weight.norm())
            step = orthogonal(step.flatten(1)).reshape(step.shape)
        weight.add_(step, alpha=-group["lr"])


def orthogonal(matrix: Tensor) -> Tensor:
    """Nearly U Vᵀ of the matrix's singular value decomposition U S Vᵀ, by products alone."""
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    x = wide / wide.norm().clamp_min(1e-7)
    a, b, c = FACTORS
    for _ in range(TURNS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    found: Tensor = x if wide is matrix else x.T
    return found
