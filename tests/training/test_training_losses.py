import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pupil_training.losses import distillation_loss


def random_logits(seed: int, spread: float = 1.0) -> Tensor:
    return spread * torch.randn(16, 5, generator=torch.Generator().manual_seed(seed))


def test_matches_a_two_class_example_worked_by_hand() -> None:
    teacher = torch.tensor([[math.log(3.0), 0.0]])  # 3 : 1
    student = torch.zeros(1, 2)  # 1 : 1
    loss = distillation_loss(student, teacher, torch.tensor([0]), temperature=1.0, hard_weight=0.5, soft_weight=2.0)
    soft = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert loss.item() == pytest.approx(2 * soft + 0.5 * math.log(2), abs=1e-6)


def test_softens_both_sides_as_worked_by_hand() -> None:
    teacher = torch.tensor([[2 * math.log(3.0), 0.0]])  # 9 : 1, at temperature 2 it is 3 : 1
    loss = distillation_loss(torch.zeros(1, 2), teacher, None, temperature=2.0, hard_weight=0.0, soft_weight=1.0)
    assert loss.item() == pytest.approx(4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5)), abs=1e-6)


def test_a_student_equal_to_its_teacher_has_nothing_to_follow() -> None:
    logits = random_logits(0)
    shifted = logits + 3.0  # the same probabilities
    for student in (logits, shifted):
        loss = distillation_loss(student, logits, None, temperature=4.0, hard_weight=0.0, soft_weight=1.0)
        assert loss.item() == pytest.approx(0, abs=1e-5)


def test_a_student_unlike_its_teacher_has_a_loss_and_a_gradient() -> None:
    student = random_logits(1).requires_grad_()
    loss = distillation_loss(student, random_logits(2), None, temperature=4.0, hard_weight=0.0, soft_weight=1.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() > 0.01
    assert gradient.abs().sum() > 0.01


def test_gradients_keep_their_size_at_any_temperature() -> None:
    student, teacher = random_logits(1, 0.1).requires_grad_(), random_logits(2, 0.1)
    sizes = []
    for temperature in (20.0, 80.0):
        loss = distillation_loss(student, teacher, None, temperature=temperature, hard_weight=0.0, soft_weight=1.0)
        sizes.append(torch.autograd.grad(loss, student)[0].norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)


def test_no_labels_means_the_same_as_no_weight_for_them() -> None:
    student, teacher, labels = random_logits(1), random_logits(2), torch.arange(16) % 5
    without = distillation_loss(student, teacher, None, temperature=4.0, hard_weight=0.7, soft_weight=0.9)
    weightless = distillation_loss(student, teacher, labels, temperature=4.0, hard_weight=0.0, soft_weight=0.9)
    nearly = distillation_loss(student, teacher, labels, temperature=4.0, hard_weight=1e-7, soft_weight=0.9)
    assert without.item() == weightless.item() == pytest.approx(nearly.item(), abs=1e-5)


def test_the_mean_goes_over_images_and_not_over_classes() -> None:
    student, teacher = random_logits(1), random_logits(2)
    loss = distillation_loss(student, teacher, None, temperature=1.0, hard_weight=0.0, soft_weight=1.0)
    p, q = teacher.softmax(1), student.softmax(1)
    assert loss.item() == pytest.approx(((p * (p / q).log()).sum() / 16).item(), rel=1e-5)


def test_soft_labels_that_are_certain_are_hard_labels() -> None:
    student, teacher, labels = random_logits(1), random_logits(2), torch.arange(16) % 5
    hard, soft = (
        distillation_loss(student, teacher, target, temperature=2.0, hard_weight=1.0, soft_weight=0.0)
        for target in (labels, F.one_hot(labels, 5).float())
    )
    assert hard.item() == pytest.approx(soft.item(), rel=1e-6)
