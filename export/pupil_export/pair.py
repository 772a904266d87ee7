"""What two graphs say of the same images that trained neither: the evidence of a cascade."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pupil_export.bundle_graph import BundleGraph
from pupil_export.errors import ExportError
from pupil_trust.cascade import CascadeCertificate, CascadePoint, Goal, cascade_certificate, cascade_curve, losses_of


@dataclass(frozen=True, eq=False)
class Pair:
    """A student's confidence, the classes that it and its teacher said, and the right ones, (N,) each.

    `label` is None where nobody knows them; then the teacher's word counts. `sha256` is that of the images.
    """

    student: BundleGraph
    teacher: BundleGraph
    sha256: str
    confidence: NDArray[np.float64]
    said: NDArray[np.int64]
    told: NDArray[np.int64]
    label: NDArray[np.int64] | None

    @classmethod
    def of_calibration(cls, student: BundleGraph, teacher: BundleGraph) -> Self:
        """By what both bundles say of one calibration set. Raises ExportError where they prove nothing together."""
        require_same_classes(student, teacher)
        said, told = student.calibration(), teacher.calibration()
        if (said["sha256"], len(said["label"])) != (told["sha256"], len(told["label"])):
            raise ExportError(
                f"{student.folder} and {teacher.folder} were calibrated on different images; export both with one "
                "calibration set, or give images that trained neither with --images"
            )
        return cls(
            student, teacher, said["sha256"], np.array(said["confidence"]), np.array(said["predicted"]),
            np.array(told["predicted"]), np.array(said["label"]),
        )  # fmt: skip

    def with_copies(self, copies: NDArray[np.int64]) -> Self:
        """Images that one of the two may lose as often as the traffic held them, (N,) times.

        The others stay: copies that nobody loses prove nothing new, while one that is lost again and again is a loss
        each time.
        """
        often = np.where((self.said == self.told) & self.student_right, 1, copies)
        at = np.repeat(np.arange(len(often)), often)
        label = None if self.label is None else self.label[at]
        return replace(self, confidence=self.confidence[at], said=self.said[at], told=self.told[at], label=label)

    @property
    def labelled(self) -> bool:
        return self.label is not None

    @property
    def student_right(self) -> NDArray[np.bool_]:
        return np.equal(self.said, self._truth)

    @property
    def teacher_right(self) -> NDArray[np.bool_]:
        return np.equal(self.told, self._truth)

    @property
    def _truth(self) -> NDArray[np.int64]:
        return self.told if self.label is None else self.label

    def certificate(self, goal: Goal, limit: float, delta: float) -> CascadeCertificate:
        """The one that a server would give. Raises NotCertifiable with what it would take."""
        losses = losses_of(goal, self.said, self.told, self.label)
        return cascade_certificate(
            self.confidence, losses, goal=goal, limit=limit, delta=delta, student=self.student.identity,
            teacher=self.teacher.identity,
        )  # fmt: skip

    def curve(self) -> list[CascadePoint]:
        return cascade_curve(self.confidence, self.student_right, self.teacher_right)

    def at(self, threshold: float) -> CascadePoint:
        """What that threshold gives on these images; no promise."""
        answers = self.confidence >= threshold
        right = np.where(answers, self.student_right, self.teacher_right)
        return CascadePoint(threshold, float(1 - answers.mean()), float(right.mean()))

    def cost(self, deferred: float) -> float | None:
        """Of an image in multiply-adds, beside the teacher alone; None where either's are not known."""
        ours, theirs = (graph.facts.get("multiply_adds") for graph in (self.student, self.teacher))
        return ours / theirs + deferred if ours and theirs else None

    def time(self, deferred: float) -> float | None:
        """The same in milliseconds of large batches, where both were measured on one machine."""
        ours, theirs = (graph.own.get("milliseconds", {}).get("32") for graph in (self.student, self.teacher))
        alike = self.student.facts.get("machine") == self.teacher.facts.get("machine")
        return ours / theirs + deferred if ours and theirs and alike else None


def require_same_classes(student: BundleGraph, teacher: BundleGraph) -> None:
    """Raises ExportError."""
    if student.facts["classes"] != teacher.facts["classes"]:
        raise ExportError(f"{student.folder} and {teacher.folder} have other classes, or another order of them")


def teacher_beside(student: BundleGraph) -> Path:
    """The bundle of the teacher that a student's bundle names, in the same repository. Raises ExportError."""
    named = student.facts["teacher"]
    if named is None or named["version"] is None:
        raise ExportError(f"{student.folder}: names no teacher's bundle; say which it is after the student's")
    return student.folder.parent.parent / str(named["name"]) / str(named["version"])
