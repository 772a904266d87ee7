"""Function matching: teacher and student see the very same picture, however it was changed and mixed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from pupil_training.data.order import Cut
from pupil_training.data.training import gather
from pupil_training.objectives import build_objective
from pupil_training.pixels import to_pixels
from pupil_training.recipe import Recipe
from pupil_training.student import new_student

CPU = torch.device("cpu")
POLICIES: list[dict[str, Any]] = [
    {"shift": 2, "mixup": 0.5},
    {"flip": True, "cutmix": 1.0},
    {"crop": 0.3, "perspective": 0.3, "rotate": 20, "contrast": 0.3, "randaugment": 2, "magnitude": "random"},
]


class Eyewitness:
    """A net of three classes, linear in the pixels, that keeps what it was shown."""

    name, temperature, model = "eyewitness", 1.0, None

    def __init__(self, seed: int) -> None:
        self.seen: list[Tensor] = []
        self._weights = torch.randn(28 * 28, 3, generator=torch.Generator().manual_seed(seed)).requires_grad_()

    def __call__(self, pixels: Tensor) -> Tensor:
        self.seen.append(pixels)
        return pixels.flatten(1) @ self._weights

    def described(self) -> dict[str, Any]:
        return {"name": self.name}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_live_teacher_is_asked_about_the_picture_that_the_student_sees(
    recipe: Callable[..., Recipe], policy: dict[str, Any]
) -> None:
    settings = recipe(augment=policy, distill={"teacher": "eyewitness", "hard_weight": 0.5, "soft_weight": 0.5})
    data, teacher, student = gather(settings), Eyewitness(0), Eyewitness(1)
    net = new_student(settings, data.images, data.classes)  # whose layers nobody watches
    objective = build_objective(settings, data, net, [teacher], None, None, Cut(), CPU)
    for step in (1, 2, 3):
        (batch,) = data.feed(settings, Cut(), CPU).parts(step)
        losses = objective(student, batch)
        assert set(losses) == {"soft", "hard"}
        assert torch.equal(teacher.seen[-1], student.seen[-1])
        assert not torch.equal(student.seen[-1], to_pixels(batch.images))
    assert (len(teacher.seen), len(student.seen)) == (3, 3)
