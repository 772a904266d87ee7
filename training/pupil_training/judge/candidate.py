"""Who is judged."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from torch import Tensor

from pupil_training.settings import DataSettings


class TeacherAnswers(NamedTuple):
    """What a candidate's teacher says, in the order of the candidate's classes."""

    name: str
    logits: Tensor  # (N, K)
    temperature: float


@dataclass(frozen=True)
class Candidate(ABC):
    """A model with what is known about it, ready to answer."""

    kind: ClassVar[str]  # run or bundle
    engine: ClassVar[str]  # what computes its answers

    path: Path
    name: str
    net: str
    classes: tuple[str, ...]
    data: DataSettings
    temperature: float
    parameters: int | None  # None, like the next, where it is not known: of a graph that was imported
    multiply_adds: int | None
    bytes: int  # of a run's weights, of a bundle's graph

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, K), on the CPU, of uint8 images (N, H, W, C)."""

    @abstractmethod
    def teacher_answers(self, images: Tensor) -> TeacherAnswers | None:
        """The teacher's answers to the same images; None where there is no teacher, or it is not there any more."""
