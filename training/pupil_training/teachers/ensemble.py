"""The teachers that a recipe names, as one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pupil_training.errors import RunError
from pupil_training.models import Classifier, InputSize
from pupil_training.runs import differing_classes
from pupil_training.teachers.run_teacher import RunTeacher
from pupil_training.teachers.teacher import Teacher


class Ensemble:
    """Several teachers: the mean of their calibrated scores, as logits."""

    temperature = 1.0

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        self._teachers = teachers
        self.name = " + ".join(teacher.name for teacher in teachers)

    def described(self) -> dict[str, Any]:
        return {"name": self.name, "teachers": [teacher.described() for teacher in self._teachers]}

    def __call__(self, pixels: Tensor) -> Tensor:
        scores = [(teacher(pixels) / teacher.temperature).log_softmax(1) for teacher in self._teachers]
        return torch.stack(scores).logsumexp(0)  # a constant short of the mean's logarithm, which softmax forgives


class Reordered:
    """A teacher whose classes stand in another order than the student's."""

    def __init__(self, teacher: Teacher, order: Sequence[int]) -> None:
        self.name, self.temperature = teacher.name, teacher.temperature
        self.described = teacher.described
        self._teacher = teacher
        self._order = list(order)

    def __call__(self, pixels: Tensor) -> Tensor:
        return self._teacher(pixels)[:, self._order]


def load_teachers(names: Sequence[str], student: Classifier, device: torch.device) -> list[Teacher]:
    """The teachers by name, checked against the student.

    Raises RunError: none there, other classes, another input.
    """
    return [load_teacher(name, student, device) for name in names]


def load_teacher(name: str, student: Classifier, device: torch.device) -> Teacher:
    """One teacher, its answers in the order of the student's classes."""
    teacher = RunTeacher.load(Path(name), device)
    return fitted(teacher, name, teacher.run.classes, teacher.model.input, student)


def fitted(teacher: Teacher, name: str, classes: tuple[str, ...], size: InputSize, student: Classifier) -> Teacher:
    """The teacher for this student, or RunError where it cannot teach it."""
    if size != student.input:
        theirs, ours = ("×".join(map(str, size)) for size in (size, student.input))
        raise RunError(f"the teacher {name} takes pictures of {theirs}, the student of {ours}; give both one size")
    if set(classes) != set(student.classes):
        raise RunError(f"the student has {differing_classes(student.classes, classes, f'the teacher {name}')}")
    if classes == student.classes:
        return teacher
    return Reordered(teacher, [classes.index(name) for name in student.classes])


def together(teachers: Sequence[Teacher]) -> Teacher:
    """One teacher as it is, several as an ensemble."""
    return teachers[0] if len(teachers) == 1 else Ensemble(teachers)
