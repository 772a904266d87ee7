"""What a candidate makes of the images of one split, and how it compares with another one."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pupil_training.data import ImageSet
from pupil_training.evaluate import Counted, Metrics, accuracy, calibration, closeness, interval
from pupil_training.judge.candidate import Candidate, TeacherAnswers
from pupil_training.judge.load import Exam
from pupil_trust import Discordant, mcnemar

if TYPE_CHECKING:
    from pupil_training.shifts import Shifted


@dataclass(frozen=True, eq=False)
class Judgement:
    """A candidate's answers, beside the truth and its teacher's."""

    candidate: Candidate
    split: str
    images: ImageSet
    labels: Tensor  # int64 (N,)
    logits: Tensor  # (N, K)
    teacher: TeacherAnswers | None

    @property
    def accuracy(self) -> Counted:
        return accuracy(self.logits, self.labels)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        predicted: NDArray[np.int64] = self.logits.argmax(1).numpy()
        return predicted

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        correct: NDArray[np.bool_] = self.predicted == self.labels.numpy()
        return correct

    def confidence(self, temperature: float | None = None) -> NDArray[np.float64]:
        """The largest score (N,), calibrated unless another temperature is given."""
        scores = torch.softmax(self.logits.double() / (temperature or self.candidate.temperature), dim=1)
        confidence: NDArray[np.float64] = scores.max(1).values.numpy()
        return confidence

    def of_each_class(self) -> dict[str, dict[str, int]]:
        """The accuracy on each true class's own images."""
        names, labels = self.candidate.classes, self.labels.numpy()
        counts = {name: labels == place for place, name in enumerate(names)}
        return {name: {"right": int(self.correct[mine].sum()), "of": int(mine.sum())} for name, mine in counts.items()}

    @cached_property
    def calibrated(self) -> dict[str, float]:
        return calibration(self.logits, self.labels, self.candidate.temperature)

    @cached_property
    def uncalibrated(self) -> dict[str, float]:
        return calibration(self.logits, self.labels, 1.0)

    @cached_property
    def closeness(self) -> Metrics:
        """Agreement with the teacher and KL(teacher ‖ student); empty without a teacher."""
        if self.teacher is None:
            return {}
        return closeness(self.logits, self.candidate.temperature, self.teacher.logits, self.teacher.temperature)

    def shifted(self) -> "Iterator[Shifted]":
        """The accuracy under each shift and strength."""
        from pupil_training.shifts import accuracies  # brings torchvision, which takes longer than torch itself

        return accuracies(self.candidate.logits, self.images.images, self.labels)

    def against(self, first: "Judgement") -> Discordant | None:
        """How it differs from the first one; None where they did not see the same images."""
        if self.images.sha256 != first.images.sha256:
            return None
        return mcnemar(first.correct, self.correct)


def judge(candidate: Candidate, exam: Exam) -> Judgement:
    """The candidate's answers to the exam. Raises DataError where the images are missing or do not fit it."""
    images = exam.images_for(candidate)
    assert images.labels is not None  # the exam has checked it
    logits, teacher = candidate.logits(images.images), candidate.teacher_answers(images.images)
    return Judgement(candidate, exam.split, images, images.labels, logits, teacher)


def facts(judgement: Judgement, first: Judgement) -> dict[str, Any]:
    """Everything that is measured, for machines; `first` is what others are compared with."""
    candidate = judgement.candidate
    found: dict[str, Any] = {}
    if judgement.teacher is not None:
        found |= {"teacher": judgement.teacher.name, **judgement.closeness}
    discordant = None if judgement is first else judgement.against(first)
    if discordant is not None:
        counts = {"only_first": discordant.only_first, "only_this": discordant.only_second}
        found["against_first"] = {"path": str(first.candidate.path), **counts, "p_value": discordant.p_value}
    return {
        "path": str(candidate.path),
        "kind": candidate.kind,
        "name": candidate.name,
        "split": judgement.split,
        "sha256": judgement.images.sha256,
        "accuracy": judgement.accuracy._asdict(),
        "interval": interval(judgement.accuracy),
        "of_each_class": judgement.of_each_class(),
        "temperature": candidate.temperature,
        **judgement.calibrated,
        "uncalibrated": judgement.uncalibrated,
        **found,
        "parameters": candidate.parameters,
        "multiply_adds": candidate.multiply_adds,
        "bytes": candidate.bytes,
    }
