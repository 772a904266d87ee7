"""What a smaller precision costs beside fp32 on the same images."""

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
