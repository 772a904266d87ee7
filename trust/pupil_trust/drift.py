"""Whether traffic still looks like the images that a model was judged by: of numbers that need no labels."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from pupil_trust.arrays import confidences


def drift_evidence(reference: ArrayLike, counts: ArrayLike) -> float:
    """How strongly two counts by kind, (K,) each, speak for two sources and against one, as a logarithm.

    The Bayes factor of Dirichlet-multinomials with Jeffreys' prior, as of predicted classes, or of numbers in bins.
    Over a stream whose counts grow it is a martingale for sources that are drawn from the prior, so that reaching
    1 / delta ever is an alarm that is false in at most delta of them; it needs no memory but the counts.
    """
    ours, theirs = _counts(reference, "reference"), _counts(counts, "counts")
    if ours.shape != theirs.shape:
        raise ValueError(f"reference has {len(ours)} kinds, counts {len(theirs)}; the same kinds are wanted")
    return _likelihood(ours) + _likelihood(theirs) - _likelihood(ours + theirs)


def _likelihood(counts: NDArray[np.float64]) -> float:
    """The logarithm of a Dirichlet-multinomial's likelihood of one order of these counts, all priors 1/2."""
    prior = 0.5
    whole = gammaln(prior * len(counts)) - gammaln(counts.sum() + prior * len(counts))
    return float(whole + (gammaln(counts + prior) - gammaln(prior)).sum())


def _counts(values: ArrayLike, name: str) -> NDArray[np.float64]:
    array = confidences(values, name)
    if len(array) < 2 or (array < 0).any() or (array != np.floor(array)).any():
        raise ValueError(f"{name} are {array.tolist()}; counts of at least two kinds are wanted")
    return array
