"""Whether a calibration set and a pool come from one source, which every certificate assumes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pupil_trust.arrays import confidences

ENOUGH = 5.0  # images of a kind that chi-squared takes in the smaller set (Cochran 1954)


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
    """The p-value of a chi-squared test of homogeneity over the kinds that occur; 1 where only one does."""
    from scipy.stats import chi2_contingency

    classes = 1 + max(int(ours.max()), int(theirs.max()))
    table = np.array([np.bincount(each, minlength=classes) for each in (ours, theirs)])
    table = _rare_ones_together(table[:, table.sum(axis=0) > 0])
    return float(chi2_contingency(table).pvalue) if table.shape[1] > 1 else 1.0


def _rare_ones_together(table: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts (2, kinds) of which enough are expected in both rows, of counts (2, classes), the rarest grouped.

    One image of a class that is hardly ever there would weigh as much as many others: of a thousand classes, each with
    a share of 1 / rank², every fifth honest pool would be taken for another one.
    """
    totals = table.sum(axis=0)
    expected = totals * (table.sum(axis=1).min() / totals.sum())
    order = np.argsort(-totals, kind="stable")
    begins, waiting = [0], 0.0
    for place, images in enumerate(expected[order].tolist(), start=1):
        waiting += images
        if waiting >= ENOUGH:
            begins.append(place)
            waiting = 0.0
    return np.add.reduceat(table[:, order], begins[:-1] or [0], axis=1)  # what is left goes to the last kind


def _predicted(classes: ArrayLike, images: int) -> NDArray[np.int64]:
    array = np.asarray(classes)
    if array.shape != (images,) or not np.issubdtype(array.dtype, np.integer) or array.min() < 0:
        raise ValueError(f"predicted classes are {array.dtype} {array.shape}; {images} whole numbers are wanted")
    return array.astype(np.int64)
