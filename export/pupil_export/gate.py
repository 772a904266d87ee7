"""What a smaller precision may cost, and what it does cost beside fp32 on the same images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pupil_export.answers import Answers


@dataclass(frozen=True)
class Cost:
    """A compressed graph beside fp32's on labelled images."""

    lost: int  # images that fp32 has right, less those that the compressed graph has right
    same: int  # images with the same best class
    of: int
    largest_difference: float  # between two scores
    mean_difference: float

    @property
    def facts(self) -> dict[str, Any]:
        """As bundle.json says it."""
        return {
            "agreement": {"right": self.same, "of": self.of},
            "largest_difference": self.largest_difference,
        }


def cost(answers: Answers, reference: Answers, labels: NDArray[np.int64]) -> Cost:
    """What `answers` cost beside those of fp32, on images with these labels (N,)."""
    apart = np.abs(answers.scores - reference.scores)
    right, before = [int((each.predicted == labels).sum()) for each in (answers, reference)]
    same = int((answers.predicted == reference.predicted).sum())
    return Cost(before - right, same, len(labels), float(apart.max()), float(apart.mean()))


@dataclass(frozen=True)
class Gate:
    """The most that int8 may cost on the validation split."""

    most_lost: float = 0.003  # of the accuracy: 0.3 points
    least_agreement: float = 0.98  # with fp32's best class; what differs is near a tie

    def passes(self, cost: Cost) -> bool:
        return cost.lost / cost.of <= self.most_lost and cost.same / cost.of >= self.least_agreement

    def compare(self, cost: Cost) -> str:
        """The cost beside what is allowed, in words."""
        return (
            f"loses {100 * cost.lost / cost.of:.2f} points of accuracy on {cost.of} validation images (at most "
            f"{100 * self.most_lost:g} are allowed) and agrees with fp32 on {cost.same / cost.of:.2%} of them (at "
            f"least {self.least_agreement:.2%} are wanted)"
        )


DEFAULT_GATE = Gate()
