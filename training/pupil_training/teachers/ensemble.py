"""Several teachers as one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pupil_training.data.images import Images
from pupil_training.teachers.teacher import Teacher, logits_of_teacher


class Ensemble:
    """Several teachers: the mean of their calibrated scores, as logits."""

    model = None  # there is no one layer of several teachers
    temperature = 1.0

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        self._teachers = teachers
        self.name = " + ".join(teacher.name for teacher in teachers)

    def described(self) -> dict[str, Any]:
        return {"name": self.name, "teachers": [teacher.described() for teacher in self._teachers]}

    def __call__(self, pixels: Tensor) -> Tensor:
        scores = [(teacher(pixels) / teacher.temperature).log_softmax(1) for teacher in self._teachers]
        return torch.stack(scores).logsumexp(0)  # a constant short of the mean's logarithm, which softmax forgives


def logits_on(images: Images, teachers: Sequence[Teacher], device: torch.device) -> Tensor | None:
    """What the teachers together say of plain images (N, H, W, C), on the CPU; None where there are none."""
    return logits_of_teacher(together(teachers), images, device).cpu() if teachers else None


def together(teachers: Sequence[Teacher]) -> Teacher:
    """One teacher as it is, several as an ensemble."""
    return teachers[0] if len(teachers) == 1 else Ensemble(teachers)
