"""How sure a measured accuracy is, and how honest the confidences are."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from pupil_trust.arrays import confidences, one_each, share


def wilson_interval(right: int, of: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval for a share of which `right` in `of` were seen (Wilson 1927); (0, 1) where nothing was seen."""
    if not 0 <= right <= of:
        raise ValueError(f"{right} right of {of}; a count and a count at least as large are wanted")
    if of == 0:
        return 0.0, 1.0
    z = float(ndtri(0.5 + share(confidence, "confidence") / 2))
    seen = right / of
    middle = (seen + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(seen * (1 - seen) / of + z * z / (4 * of * of))
    low = 0.0 if right == 0 else middle - half  # exact at both ends, where rounding would leave 1e-17
    high = 1.0 if right == of else middle + half
    return low, high


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over bins of equal width, weighted by size (Guo et al. 2017, eq. 3).

    `confidence` (N,), `correct` (N,) bool. Bins are closed to the right, the first one on both sides.
    """
    numbers, right = _checked(confidence, correct, bins)
    bin_of = np.clip(np.ceil(numbers * bins).astype(np.int64) - 1, 0, bins - 1)
    return _mean_gap(numbers, right, bin_of)


def equal_mass_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """The same gap over bins of equal counts, which does not depend on one crowded bin (Nixon et al. 2019).

    Equal confidences share a bin, so the order of the images does not matter.
    """
    numbers, right = _checked(confidence, correct, bins)
    rank = np.searchsorted(np.sort(numbers), numbers, side="left")
    return _mean_gap(numbers, right, rank * bins // len(numbers))


def _mean_gap(confidence: NDArray[np.float64], correct: NDArray[np.bool_], bin_of: NDArray[np.int64]) -> float:
    excess = np.bincount(bin_of, weights=confidence - correct)
    return float(np.abs(excess).sum() / len(confidence))


def _checked(confidence: ArrayLike, correct: ArrayLike, bins: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    numbers = confidences(confidence)
    if not len(numbers):
        raise ValueError("confidence is empty; at least one image is wanted")
    if bins < 1:
        raise ValueError(f"{bins} bins; at least one is wanted")
    return numbers, one_each(numbers, correct)
