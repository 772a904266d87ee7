"""How often a student says what its teacher says, counted so that looking often is honest."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pupil_server.pairs import kl_divergence
from pupil_trust.anytime import confidence_sequence, evidence_against

DELTA = 0.05  # the chance that the interval ever misses the true rate, and that an alarm is ever false


@dataclass
class Agreement:
    """Counts by the class that the student predicted, each (K,), and the sum of KL(teacher || student) in nats."""

    teacher: str = ""  # fingerprint:precision of who was asked
    compared: list[int] = field(default_factory=list)
    agreed: list[int] = field(default_factory=list)
    kl: float = 0.0
    alarm: bool = False

    @property
    def images(self) -> int:
        return sum(self.compared)

    @property
    def disagreed(self) -> int:
        return self.images - sum(self.agreed)

    def add(self, student: NDArray[np.float32], teacher: NDArray[np.float32], *, limit: float) -> NDArray[np.bool_]:
        """Counts the scores (N, K) of both, and gives which images they agree on (N,).

        The alarm is raised, and stays, once the rate of disagreements is surely above `limit`.
        """
        said, wanted = student.argmax(axis=1), teacher.argmax(axis=1)
        numbers = np.isfinite(student).all(axis=1) & np.isfinite(teacher).all(axis=1)
        agree: NDArray[np.bool_] = (said == wanted) & numbers  # with an answer that is none, nobody agrees
        classes = student.shape[1]
        compared = np.bincount(said, minlength=classes) + np.array(self.compared or [0] * classes)
        agreed = np.bincount(said[agree], minlength=classes) + np.array(self.agreed or [0] * classes)
        self.compared, self.agreed = compared.tolist(), agreed.tolist()
        self.kl += float(kl_divergence(teacher[numbers], student[numbers]).sum())
        above = self.disagreed > limit * self.images
        if above and evidence_against(limit, self.disagreed, self.images) >= -math.log(DELTA):
            self.alarm = True
        return agree

    def interval(self) -> tuple[float, float]:
        """In which the true rate of disagreements lies, at every moment at once, with probability 1 - DELTA."""
        return confidence_sequence(self.disagreed, self.images, DELTA)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any], *, classes: int) -> Self:
        """Raises ArithmeticError, LookupError, TypeError or ValueError where that makes no sense."""
        compared, agreed = ([int(count) for count in plain[key]] for key in ("compared", "agreed"))
        if len(compared) not in (0, classes) or not all(0 <= a <= of for a, of in zip(agreed, compared, strict=True)):
            raise ValueError(f"{agreed} agreed of {compared}, with {classes} classes")
        return cls(str(plain["teacher"]), compared, agreed, float(plain["kl"]), bool(plain["alarm"]))
