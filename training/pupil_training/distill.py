"""The teacher's side of distillation: frozen, checked against the student, live or cached."""

from collections.abc import Callable
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from pupil_training.errors import RunError
from pupil_training.evaluate import logits_of
from pupil_training.models import Classifier
from pupil_training.runs import Run, differing_classes, load_run

Teach = Callable[[Tensor, Tensor], Tensor]  # (the batch's pixels, its indices) -> teacher's logits (N, K)


class Teacher(nn.Module):
    """A classifier that nothing can change: no gradients, and eval mode whatever is asked of it.

    Without the latter a parent's `train()` would move its batch norm statistics and put dropout in its answers.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        return super().train(False)

    def forward(self, pixels: Tensor) -> Tensor:
        with torch.no_grad():  # not inference_mode: the loss keeps these logits for its backward pass
            logits: Tensor = self.model(pixels)
        return logits


def load_teacher(folder: Path, student: Classifier) -> Run:
    """The teacher's run. Raises RunError where its classes or its input are not the student's."""
    run = load_run(folder)
    if run.classes != student.classes:
        differ = differing_classes(student.classes, run.classes, f"the teacher {folder}")
        raise RunError(f"the student has {differ}")
    if run.model.input != student.input:
        theirs, ours = ("×".join(map(str, size)) for size in (run.model.input, student.input))
        raise RunError(f"the teacher {folder} takes pictures of {theirs}, the student of {ours}; give both one size")
    return run


def live(teacher: Teacher) -> Teach:
    """Asks the teacher about the very picture that the student sees, augmentation and all (function matching)."""
    return lambda pixels, _: teacher(pixels)


def cached(teacher: Teacher, images: Tensor) -> Teach:
    """Asks the teacher once about each plain image (N, H, W, C), and looks the answers up."""
    logits = logits_of(teacher, images).to(images.device)
    return lambda _, indices: logits[indices]
