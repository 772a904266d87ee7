"""Whether a calibration set and a pool come from one source, which every certificate assumes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pupil_trust.arrays import confidences

ENOUGH = 5.0  # images of each class that chi-squared takes in the smaller set (Cochran 1954)
DRAWS, AT_ONCE = 4000, 200
OFTEN = 20  # draws as uneven as what was seen: more would only tell better how likely it is


class Shift(NamedTuple):
    """The p-values of "calibration set and pool come from one source", by what was compared."""

    confidence: float  # Kolmogorov's and Smirnov's two-sample test
    classes: float  # chi-squared of the shares of predicted classes

    @property
    def p_value(self) -> float:
        """Of both together (Bonferroni)."""
        return min(1.0, 2 * min(self))


def shift_test(
    calibration_confidence: ArrayLike,
    calibration_predicted: ArrayLike,
    pool_confidence: ArrayLike,
    pool_predicted: ArrayLike,
) -> Shift:
    """Compares a calibration set with the pool that its certificate is to hold for; below 0.001 it should be withheld.

    Confidences (N,) and (M,), predicted classes as whole numbers (N,) and (M,). A large p-value proves no sameness.
    """
    from scipy.stats import ks_2samp  # a second to import, which a server would pay at every start

    ours, theirs = confidences(calibration_confidence), confidences(pool_confidence, "pool confidence")
    if not len(ours) or not len(theirs):
        raise ValueError(f"{len(ours)} calibration images and {len(theirs)} of the pool; some of both are wanted")
    predicted = _predicted(calibration_predicted, len(ours)), _predicted(pool_predicted, len(theirs))
    return Shift(float(ks_2samp(ours, theirs, method="asymp").pvalue), _same_shares(*predicted))


def _same_shares(ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> float:
    """The p-value of a chi-squared test of homogeneity over the classes that occur; 1 where only one does."""
    from scipy.stats import chi2_contingency

    kinds = 1 + max(int(ours.max()), int(theirs.max()))
    table = np.array([np.bincount(each, minlength=kinds) for each in (ours, theirs)])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] == 1:
        return 1.0
    smaller, totals = table[table.sum(axis=1).argmin()], table.sum(axis=0)
    if totals.min() * smaller.sum() < ENOUGH * totals.sum():
        return _chance_to_be_as_uneven(smaller, totals)
    return float(chi2_contingency(table).pvalue)


def _chance_to_be_as_uneven(smaller: NDArray[np.int64], totals: NDArray[np.int64]) -> float:
    """The same p-value among random divisions of the `totals` (K,) into sets of these sizes (Besag and Clifford 1991).

    The distribution of chi-squared knows nothing of rare classes: of a thousand, each with a share of 1 / rank², it
    takes every fifth honest pool for another source.
    """
    random, images = np.random.default_rng(0), int(smaller.sum())
    expected = totals * (images / totals.sum())
    weight = 1 / expected + 1 / (totals - expected)
    seen = (smaller - expected) ** 2 @ weight * (1 - 1e-9)  # of equal ones some are a rounding smaller
    drawn = as_uneven = 0
    while drawn < DRAWS and as_uneven < OFTEN:
        some = random.multivariate_hypergeometric(totals, images, size=AT_ONCE, method="marginals")
        as_uneven += int(((some - expected) ** 2 @ weight >= seen).sum())
        drawn += AT_ONCE
    return (1 + as_uneven) / (1 + drawn)


def _predicted(classes: ArrayLike, images: int) -> NDArray[np.int64]:
    array = np.asarray(classes)
    if array.shape != (images,) or not np.issubdtype(array.dtype, np.integer) or array.min() < 0:
        raise ValueError(f"predicted classes are {array.dtype} {array.shape}; {images} whole numbers are wanted")
    return array.astype(np.int64)
