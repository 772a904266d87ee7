"""What the loop knows of a way of learning."""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn

from pupil_training.data.feed import Batch

Losses = dict[str, Tensor]  # terms by name; their sum is minimised
Net = Callable[[Tensor], Tensor]  # pixels (N, C, H, W) to logits (N, K)


class Objective(Protocol):
    """The terms for one batch. `own` is trained beside the student and thrown away after it."""

    own: nn.Module

    def __call__(self, student: Net, batch: Batch) -> Losses: ...


class Lesson(nn.Module):
    """Student and objective as one module, so that the gradients of both are averaged over processes."""

    def __init__(self, student: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.student = student
        self.own = objective.own
        self._objective = objective

    def forward(self, batch: Batch) -> Losses:
        return self._objective(self.student, batch)
