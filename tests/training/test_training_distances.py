"""Every way to follow a teacher's answers, against plain loops over probabilities and values worked by hand."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import pearsonr
from torch import Tensor

from pupil_training.errors import RecipeError
from pupil_training.losses import best_class_loss, decoupled_loss, relation_loss, soft_loss, standardised
from pupil_training.objectives.following import following, target_classes
from pupil_training.objectives.formula import formula
from pupil_training.recipe import parse_recipe
from pupil_training.settings import DistillSettings

METHODS: dict[str, dict[str, Any]] = {
    "kd": {"method": "kd"},
    "kd standardised": {"method": "kd", "standardise": True},
    "dkd": {"method": "dkd", "dkd": {"alpha": 1.5, "beta": 4}},
    "dkd standardised": {"method": "dkd", "standardise": True},
    "dist": {"method": "dist", "dist": {"beta": 2, "gamma": 3}},
    "hard": {"method": "hard"},
}
every_method = pytest.mark.parametrize("method", METHODS)
Rows = list[list[float]]


def logits(seed: int, spread: float = 1.0, images: int = 16, classes: int = 5) -> Tensor:
    return spread * torch.randn(images, classes, generator=torch.Generator().manual_seed(seed))


def targets(images: int = 16) -> Tensor:
    return torch.arange(images) % 5


def loss(method: str, student: Tensor, teacher: Tensor, labels: Tensor | None, temperature: float = 4.0) -> Tensor:
    how = DistillSettings.model_validate({**METHODS[method], "temperature": temperature})
    return following(how, student.shape[1])(student, teacher, labels)


def softmax(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def z_scores(row: list[float]) -> list[float]:
    mean = sum(row) / len(row)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in row) / len(row) + 1e-5)
    return [(value - mean) / deviation for value in row]


def slow_kd(student: Rows, teacher: Rows, labels: list[int], t: float, alpha: float, beta: float) -> float:
    return sum(t**2 * kl(softmax(b, t), softmax(a, t)) for a, b in zip(student, teacher, strict=True)) / len(student)


def slow_dkd(student: Rows, teacher: Rows, labels: list[int], t: float, alpha: float, beta: float) -> float:
    total = 0.0
    for ours, theirs, label in zip(student, teacher, labels, strict=True):
        p, q = softmax(theirs, t), softmax(ours, t)
        of_target = kl([p[label], 1 - p[label]], [q[label], 1 - q[label]])
        rest = [place for place in range(len(p)) if place != label]
        of_others = kl([p[i] / (1 - p[label]) for i in rest], [q[i] / (1 - q[label]) for i in rest])
        total += t**2 * (alpha * of_target + beta * of_others)
    return total / len(student)


def slow_dist(student: Rows, teacher: Rows, labels: list[int], t: float, beta: float, gamma: float) -> float:
    q, p = ([softmax(row, t) for row in rows] for rows in (student, teacher))
    inter = [1 - pearsonr(a, b).statistic for a, b in zip(q, p, strict=True)]
    intra = [1 - pearsonr(a, b).statistic for a, b in zip(zip(*q, strict=True), zip(*p, strict=True), strict=True)]
    return beta * sum(inter) / len(inter) + gamma * sum(intra) / len(intra)


def slow_hard(student: Rows, teacher: Rows, labels: list[int], t: float, alpha: float, beta: float) -> float:
    best = [row.index(max(row)) for row in teacher]
    return -sum(math.log(softmax(row, 1)[label]) for row, label in zip(student, best, strict=True)) / len(student)


SLOW: dict[str, tuple[Callable[..., float], float, float]] = {
    "kd": (slow_kd, 0, 0),
    "kd standardised": (slow_kd, 0, 0),
    "dkd": (slow_dkd, 1.5, 4),
    "dkd standardised": (slow_dkd, 1, 8),
    "dist": (slow_dist, 2, 3),
    "hard": (slow_hard, 0, 0),
}


@every_method
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_every_method_is_what_plain_loops_over_probabilities_give(method: str, temperature: float) -> None:
    student, teacher = logits(1, 2), logits(2, 2)
    slow, first, second = SLOW[method]
    rows: tuple[Rows, Rows] = student.tolist(), teacher.tolist()
    if "standardised" in method:
        rows = [z_scores(row) for row in rows[0]], [z_scores(row) for row in rows[1]]
    expected = slow(*rows, targets().tolist(), temperature, first, second)
    assert loss(method, student, teacher, targets(), temperature).item() == pytest.approx(expected, rel=1e-4)


def test_decoupled_distillation_matches_an_example_worked_by_hand() -> None:
    teacher, student = torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.zeros(1, 3)
    target_or_not = 0.25 * math.log(0.75) + 0.75 * math.log(9 / 8)  # (1/4, 3/4) against (1/3, 2/3)
    among_others = 2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)  # (2/3, 1/3) against (1/2, 1/2)
    for alpha, beta in ((1, 0), (0, 1), (2, 3)):
        found = decoupled_loss(student, teacher, torch.tensor([1]), 1.0, alpha, beta).item()
        assert found == pytest.approx(alpha * target_or_not + beta * among_others, abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_decoupled_distillation_weighted_by_the_teachers_doubt_is_plain_distillation(temperature: float) -> None:
    for place in range(16):  # equation 7: beta belongs to one image
        student, teacher, target = logits(1)[place : place + 1], logits(2)[place : place + 1], targets()[place]
        doubt = 1 - (teacher / temperature).softmax(1)[0, target].item()
        parts = decoupled_loss(student, teacher, target[None], temperature, 1.0, doubt)
        assert parts.item() == pytest.approx(soft_loss(student, teacher, temperature).item(), rel=1e-4)


@every_method
def test_a_student_equal_to_its_teacher_has_nothing_to_follow_and_any_other_has(method: str) -> None:
    teacher = logits(2, 3)
    same, other = loss(method, teacher, teacher, targets()), loss(method, logits(1), teacher, targets())
    if method == "hard":
        assert same.item() == pytest.approx(-teacher.log_softmax(1).amax(1).mean().item(), rel=1e-5)
    else:
        assert same.item() == pytest.approx(0, abs=1e-5)
    assert other.item() > 0.05


@every_method
@pytest.mark.parametrize("teacher_spread", [1.0, 1e4])
@pytest.mark.parametrize("student_spread", [0.0, 1.0, 1e4])
def test_gradients_are_numbers_even_where_teacher_or_student_are_certain(
    method: str, teacher_spread: float, student_spread: float
) -> None:
    student, teacher = logits(1, student_spread).requires_grad_(), logits(2, teacher_spread)
    value = loss(method, student, teacher, targets(), temperature=1.0)
    (gradient,) = torch.autograd.grad(value, student)
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 1e4  # also at a head of zeros, whose scores are all equal


@every_method
def test_every_method_moves_the_student(method: str) -> None:
    student = logits(1).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(method, student, logits(2), targets()), student)
    assert (gradient.abs().amax(1) > 1e-4).all()


@pytest.mark.parametrize("method", [method for method in METHODS if "standardised" not in method])
def test_gradients_keep_their_size_at_any_high_temperature(method: str) -> None:
    student, teacher = logits(1, 0.1).requires_grad_(), logits(2, 0.1)
    losses = [loss(method, student, teacher, targets(), temperature) for temperature in (20.0, 80.0)]
    sizes = [torch.autograd.grad(value, student)[0].norm().item() for value in losses]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


def test_a_correlation_follows_relations_and_not_values() -> None:
    teacher = logits(2)
    scores = teacher.softmax(1)
    halfway = (0.5 * scores + 0.1).log()  # of scores that are half as far apart
    assert soft_loss(halfway, teacher, 1.0).item() > 0.01
    assert relation_loss(halfway, teacher, 1.0, 1.0, 1.0).item() == pytest.approx(0, abs=1e-5)
    swapped = teacher.roll(1, 0)  # the teacher's answers, each about another picture
    assert relation_loss(swapped, teacher, 1.0, 0.0, 1.0).item() > 0.5


def test_standardised_logits_have_a_value_worked_by_hand_and_no_size() -> None:
    expected = torch.tensor([[-1, 0, 1]]) * math.sqrt(1.5)
    assert torch.allclose(standardised(torch.tensor([[1.0, 2.0, 3.0]])), expected, atol=1e-4)
    teacher = logits(2)
    for method in ("kd", "dkd"):
        assert loss(f"{method} standardised", 3 * teacher + 7, teacher, targets()).item() == pytest.approx(0, abs=1e-5)
        assert loss(method, 3 * teacher + 7, teacher, targets()).item() > 0.1


def test_the_teachers_best_class_is_a_label_at_any_temperature() -> None:
    student, teacher = logits(1), logits(2)
    expected = F.cross_entropy(student, teacher.argmax(1)).item()
    assert best_class_loss(student, teacher).item() == pytest.approx(expected)
    assert loss("hard", student, teacher, None, 1.0).item() == loss("hard", student, teacher, None, 9.0).item()


def test_two_classes_cannot_be_decoupled() -> None:
    with pytest.raises(ValueError, match="2 classes"):
        decoupled_loss(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([0]), 1.0, 1.0, 8.0)
    with pytest.raises(RecipeError, match="needs 3 classes, here are 2"):
        following(DistillSettings(method="dkd"), 2)


def test_the_target_is_the_label_the_larger_share_or_the_teachers_best() -> None:
    teacher = torch.tensor([[0.0, 2.0, 1.0]])
    assert target_classes(torch.tensor([2]), teacher).tolist() == [2]
    assert target_classes(torch.tensor([[0.6, 0.4, 0.0]]), teacher).tolist() == [0]
    assert target_classes(None, teacher).tolist() == [1]


@pytest.mark.parametrize("method", ["dist", "hard"])
def test_only_logits_that_are_softened_can_be_standardised(method: str) -> None:
    with pytest.raises(RecipeError, match=f"not with '{method}'"):
        parse_recipe({"distill": {"method": method, "standardise": True}}, "here")


def test_the_formula_names_every_term_that_has_a_weight() -> None:
    kd = DistillSettings(teacher=("a", "b"), temperature=2)
    assert formula(kd) == (
        "loss = 0.1 · CE(labels) + 0.9 · 2.0² · KL(teacher ‖ student) at temperature 2.0, live logits of a + b"
    )
    assert "0.1 · CE(labels smoothed by 0.2) + " in formula(kd, smoothing=0.2)
    layers = {"hint": {"net.1": "net.2"}, "attention": {"net.3": "net.4", "net.5": "net.6"}}
    dkd = DistillSettings.model_validate(
        {"teacher": "a", "method": "dkd", "standardise": True, "hard_weight": 0, **layers}
    )
    assert formula(dkd) == (
        "loss = 0.9 · 4.0² · (1.0 · KL(target or not) + 8.0 · KL(other classes)) + 1.0 · hint(net.1 → net.2)"
        " + 1000.0 · attention(net.3 → net.4, net.5 → net.6) at temperature 4.0, live z-scored logits of a"
    )
    dist = DistillSettings(teacher=("a",), method="dist", logits="views", views=3)
    assert formula(dist).startswith("loss = 0.1 · CE(labels) + 0.9 · (1.0 · (1 - r over classes) + 1.0 · (1 - r over")
    assert formula(dist).endswith(" at temperature 4.0, cached logits of a on 3 views of each image")
    hard = DistillSettings(teacher=("a",), method="hard", logits="cached")
    assert formula(hard) == "loss = 0.1 · CE(labels) + 0.9 · CE(teacher's best class), cached logits of a"
