"""How a teacher's answers are followed, by the name that a recipe gives it (`distill.method`)."""

from collections.abc import Callable

from torch import Tensor

from pupil_training.errors import RecipeError
from pupil_training.losses import best_class_loss, decoupled_loss, relation_loss, soft_loss, standardised
from pupil_training.settings import DistillSettings

Follow = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # student's logits, teacher's, targets -> mean over images


def following(how: DistillSettings, classes: int) -> Follow:
    """The chosen distance to the teacher. Raises RecipeError where it needs more classes."""
    if how.method == "dkd" and classes < 3:
        raise RecipeError(f"distill.method = 'dkd' needs 3 classes, here are {classes}; 'kd' does the same for them")
    follow = METHODS[how.method](how)
    if not how.standardise:
        return follow
    return lambda student, teacher, targets: follow(standardised(student), standardised(teacher), targets)


def _kd(how: DistillSettings) -> Follow:
    return lambda student, teacher, targets: soft_loss(student, teacher, how.temperature)


def _dkd(how: DistillSettings) -> Follow:
    def follow(student: Tensor, teacher: Tensor, targets: Tensor | None) -> Tensor:
        return decoupled_loss(
            student, teacher, target_classes(targets, teacher), how.temperature, how.dkd.alpha, how.dkd.beta
        )

    return follow


def _dist(how: DistillSettings) -> Follow:
    return lambda student, teacher, targets: relation_loss(
        student, teacher, how.temperature, how.dist.beta, how.dist.gamma
    )


def _hard(how: DistillSettings) -> Follow:
    return lambda student, teacher, targets: best_class_loss(student, teacher)


METHODS: dict[str, Callable[[DistillSettings], Follow]] = {"kd": _kd, "dkd": _dkd, "dist": _dist, "hard": _hard}


def target_classes(targets: Tensor | None, teacher_logits: Tensor) -> Tensor:
    """One class (N,) an image: its label, a mixed one's largest share, the teacher's best where nobody labelled."""
    if targets is None:
        return teacher_logits.argmax(1)
    return targets if targets.ndim == 1 else targets.argmax(1)
