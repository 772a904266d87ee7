"""A finished run as a teacher: frozen, whatever is asked of it."""

import hashlib
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from pupil_training.models import Classifier, InputSize
from pupil_training.runs import Run, load_run


class RunTeacher(nn.Module):
    """A classifier that nothing can change: no gradients, and eval mode always.

    Without the latter a parent's `train()` would move its batch norm statistics and put dropout in its answers.
    """

    def __init__(self, run: Run, device: torch.device) -> None:
        super().__init__()
        self.run = run
        self.name = run.recipe.name
        self.model: Classifier = run.model.to(device).to(memory_format=torch.channels_last)
        self.model.eval().requires_grad_(False)
        self.temperature = run.model.temperature.item()

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> Self:
        """Raises RunError where there is no finished run."""
        return cls(load_run(folder), device)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.model.classes

    @property
    def input(self) -> InputSize:
        return self.model.input

    def train(self, mode: bool = True) -> Self:
        return super().train(False)

    def forward(self, pixels: Tensor) -> Tensor:
        with torch.no_grad():  # not inference_mode: the loss keeps these logits for its backward pass
            logits: Tensor = self.model(pixels)
        return logits.float()

    def described(self) -> dict[str, Any]:
        weights = hashlib.sha256((self.run.folder / "checkpoint.pt").read_bytes()).hexdigest()
        return {"name": self.name, "run": str(self.run.folder), "checkpoint": weights}
