"""What two bundles say of the same calibration images: the evidence of a cascade."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pupil_export.errors import ExportError
from pupil_trust.cascade import CascadeCertificate, CascadePoint, Goal, cascade_certificate, cascade_curve, losses_of


@dataclass(frozen=True, eq=False)
class Pair:
    """A student's confidence, the classes that it and its teacher said, the right ones, (N,) each; what an image costs.

    `grid` are the thresholds to test, strict to loose; `cost` is in multiply-adds, and None where that is not known.
    """

    student: str  # fingerprint:precision, as a server names them
    teacher: str
    confidence: NDArray[np.float64]
    grid: NDArray[np.float64]
    said: NDArray[np.int64]
    told: NDArray[np.int64]
    label: NDArray[np.int64]
    cost: tuple[int, int] | None

    @classmethod
    def read(cls, student: Path, teacher: Path, precision: str = "") -> Self:
        """Of two bundles; `precision` is the student's. Raises ExportError where they prove nothing together."""
        ours, (said, name) = _facts(student), _calibration(student, precision)
        theirs, (told, other) = _facts(teacher), _calibration(teacher, "")
        if ours["classes"] != theirs["classes"]:
            raise ExportError(f"{student} and {teacher} have other classes, or another order of them")
        if (said["sha256"], len(said["label"])) != (told["sha256"], len(told["label"])):
            raise ExportError(
                f"{student} and {teacher} were calibrated on different images; export both with one calibration set"
            )
        costs = ours.get("multiply_adds"), theirs.get("multiply_adds")
        return cls(
            student=name,
            teacher=other,
            confidence=np.array(said["confidence"]),
            grid=np.array(said["grid"]),
            said=np.array(said["predicted"]),
            told=np.array(told["predicted"]),
            label=np.array(said["label"]),
            cost=(costs[0], costs[1]) if costs[0] and costs[1] else None,
        )

    @property
    def student_right(self) -> NDArray[np.bool_]:
        return np.equal(self.said, self.label)

    @property
    def teacher_right(self) -> NDArray[np.bool_]:
        return np.equal(self.told, self.label)

    def certificate(self, goal: Goal, limit: float, delta: float) -> CascadeCertificate:
        """The one that a server would give. Raises NotCertifiable with what it would take."""
        losses = losses_of(goal, self.said, self.told, self.label)
        return cascade_certificate(
            self.confidence, losses, self.grid, goal=goal, limit=limit, delta=delta, student=self.student,
            teacher=self.teacher,
        )  # fmt: skip

    def curve(self) -> list[CascadePoint]:
        return cascade_curve(self.confidence, self.student_right, self.teacher_right)

    def at(self, threshold: float) -> CascadePoint:
        """What that threshold gives on the calibration images; no promise."""
        answers = self.confidence >= threshold
        right = np.where(answers, self.student_right, self.teacher_right)
        return CascadePoint(threshold, float(1 - answers.mean()), float(right.mean()))

    def relative_cost(self, deferred: float) -> float | None:
        """Of an image, beside the teacher alone."""
        return self.cost and self.cost[0] / self.cost[1] + deferred


def teacher_beside(student: Path) -> Path:
    """The bundle of the teacher that a student's bundle names, in the same repository. Raises ExportError."""
    named = _facts(student)["teacher"]
    if named is None or named["version"] is None:
        raise ExportError(f"{student}: names no teacher's bundle; say which with --teacher")
    return student.parent.parent / str(named["name"]) / str(named["version"])


def _calibration(bundle: Path, precision: str) -> tuple[dict[str, Any], str]:
    """What the bundle says of its calibration set in a precision, and how that graph is named."""
    facts = _facts(bundle)
    precision = precision or facts["precision"]
    own = facts if precision == facts["precision"] else facts.get("precisions", {}).get(precision)
    if own is None:
        raise ExportError(f"{bundle}: was not exported in {precision}; pupil export --precision fp32,{precision}")
    if own.get("calibration") is None:
        raise ExportError(f"{bundle}: was exported without a calibration set, so no cascade can be certified with it")
    said: dict[str, Any] = json.loads((bundle / own["calibration"]).read_bytes())
    return said, f"{facts['fingerprint']}:{precision}"


def _facts(bundle: Path) -> dict[str, Any]:
    file = bundle / "bundle.json"
    try:
        facts: dict[str, Any] = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ExportError(f"{file}: {error}; a bundle is wanted, as in repository/student/1") from error
    return facts
