"""How honest confidences are: the bins of a reliability diagram, and the errors that sum them up."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pupil_trust.accuracy import wilson_interval
from pupil_trust.arrays import confidences, one_each

BINS = 15


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The images of one range of confidences: how many there are, and how many of them are right."""

    count: int
    right: int
    confidence: float  # the mean

    @property
    def accuracy(self) -> float:
        return self.right / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return wilson_interval(self.right, self.count)


def equal_width_bins(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> list[ReliabilityBin]:
    """The bins of equal width between 0 and 1 that are not empty, by ascending confidence (Guo et al. 2017, sec. 2).

    `confidence` (N,), `correct` (N,) bool. Bins are closed to the right, the first one on both sides.
    """
    numbers, right = _checked(confidence, correct, bins)
    bin_of = np.clip(np.ceil(numbers * bins).astype(np.int64) - 1, 0, bins - 1)
    return _filled(numbers, right, bin_of)


def equal_mass_bins(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> list[ReliabilityBin]:
    """Bins of equal counts, which do not depend on one crowded bin (Nixon et al. 2019, section 3).

    Equal confidences share a bin, so the order of the images does not matter and there may be fewer bins.
    """
    numbers, right = _checked(confidence, correct, bins)
    rank = np.searchsorted(np.sort(numbers), numbers, side="left")
    return _filled(numbers, right, rank * bins // len(numbers))


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> float:
    """Mean gap between confidence and accuracy over bins of equal width, weighted by size (Guo et al. 2017, eq. 3)."""
    return _mean_gap(equal_width_bins(confidence, correct, bins))


def equal_mass_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> float:
    """The same gap over bins of equal counts."""
    return _mean_gap(equal_mass_bins(confidence, correct, bins))


def _filled(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bin_of: NDArray[np.int64]
) -> list[ReliabilityBin]:
    counts = np.bincount(bin_of)
    rights = np.bincount(bin_of, weights=correct)
    sums = np.bincount(bin_of, weights=confidence)
    return [
        ReliabilityBin(int(count), int(right), float(total / count))
        for count, right, total in zip(counts, rights, sums, strict=True)
        if count
    ]


def _mean_gap(bins: list[ReliabilityBin]) -> float:
    gaps = sum(abs(each.count * each.confidence - each.right) for each in bins)
    return gaps / sum(each.count for each in bins)


def _checked(confidence: ArrayLike, correct: ArrayLike, bins: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    numbers = confidences(confidence)
    if not len(numbers):
        raise ValueError("confidence is empty; at least one image is wanted")
    if bins < 1:
        raise ValueError(f"{bins} bins; at least one is wanted")
    return numbers, one_each(numbers, correct)
