"""What distillation knows of a teacher, wherever its answers come from."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pupil_training.data.images import Images, batches
from pupil_training.models import InputSize
from pupil_training.pixels import to_pixels


class Teacher(Protocol):
    """Answers about pictures, in the order of the student's classes, without gradients or noise."""

    name: str
    temperature: float  # of its calibrated scores

    @property
    def model(self) -> nn.Module | None:
        """What is inside, where its layers can be watched."""
        ...

    def __call__(self, pixels: Tensor) -> Tensor:
        """Logits (N, K) of pixels (N, C, H, W) in [0, 1], on their device."""
        ...

    def described(self) -> dict[str, Any]:
        """What result.json says of it: where it is, and which weights it had."""
        ...


def fingerprint(teacher: Teacher) -> str:
    """SHA-256 of its weights, or of the bundle that holds them."""
    described = teacher.described()
    digest: str = described.get("checkpoint") or described["fingerprint"]
    return digest


class FoundTeacher(Teacher, Protocol):
    """A teacher as it is by itself, its answers in the order of its own classes."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def input(self) -> InputSize: ...


def logits_of_teacher(teacher: Teacher, images: Images, device: torch.device | None = None) -> Tensor:
    """Logits (N, K), on the teacher's `device`, of plain uint8 images (N, H, W, C), which may be elsewhere."""
    return torch.cat([teacher(to_pixels(batch)) for batch in batches(images, device)])
