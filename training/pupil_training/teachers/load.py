"""The teachers that a recipe names, wherever they are, fitted to the student."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pupil_training.bundles import find_bundle
from pupil_training.errors import RunError
from pupil_training.models import Classifier
from pupil_training.runs import differing_classes
from pupil_training.teachers.bundle_teacher import BundleTeacher
from pupil_training.teachers.run_teacher import RunTeacher
from pupil_training.teachers.teacher import FoundTeacher, Teacher


class Reordered:
    """A teacher whose classes stand in another order than the student's."""

    def __init__(self, teacher: Teacher, order: Sequence[int]) -> None:
        self.name, self.temperature, self.model = teacher.name, teacher.temperature, teacher.model
        self.described = teacher.described
        self._teacher = teacher
        self._order = list(order)

    def __call__(self, pixels: Tensor) -> Tensor:
        return self._teacher(pixels)[:, self._order]


def load_teachers(names: Sequence[str], student: Classifier, device: torch.device) -> list[Teacher]:
    """The teachers by name, each answering in the order of the student's classes.

    Raises RunError and TeacherError: none there, other classes, another input.
    """
    return [fitted(find_teacher(name, device), name, student) for name in names]


def find_teacher(name: str, device: torch.device) -> FoundTeacher:
    """A server where the name starts with grpc://, a bundle where there is one or versions of one, else a run."""
    if name.startswith("grpc://"):
        from pupil_training.teachers.server_teacher import ServerTeacher  # brings grpc

        return ServerTeacher(name)
    bundle = find_bundle(Path(name))
    return RunTeacher.load(Path(name), device) if bundle is None else BundleTeacher(bundle, device)


def fitted(teacher: FoundTeacher, name: str, student: Classifier) -> Teacher:
    """The teacher for this student, or RunError where it cannot teach it."""
    if teacher.input != student.input:
        theirs, ours = ("×".join(map(str, size)) for size in (teacher.input, student.input))
        raise RunError(f"the teacher {name} takes pictures of {theirs}, the student of {ours}; give both one size")
    if set(teacher.classes) != set(student.classes):
        raise RunError(f"the student has {differing_classes(student.classes, teacher.classes, f'the teacher {name}')}")
    if teacher.classes == student.classes:
        return teacher
    return Reordered(teacher, [teacher.classes.index(name) for name in student.classes])
