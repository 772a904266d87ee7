"""A score that is best for honest probabilities, and never infinite."""

import numpy as np
from numpy.typing import ArrayLike

from pupil_trust.arrays import places_in


def brier_score(scores: ArrayLike, labels: ArrayLike) -> float:
    """The mean squared distance of scores (N, K) to the true classes (N,), summed over classes: 0 to 2 (Brier 1950).

    ValueError for empty or ill-shaped input, and for rows that are no distribution.
    """
    shares = np.asarray(scores, dtype=np.float64)
    if shares.ndim != 2 or shares.shape[0] == 0 or shares.shape[1] < 2:
        raise ValueError(f"scores have the shape {shares.shape}; at least one image and two classes are wanted")
    if not ((shares >= 0).all() and np.allclose(shares.sum(axis=1), 1.0, atol=1e-4)):  # also refuses NaN
        raise ValueError("scores are no distributions; each row wants shares that add up to 1")
    classes = places_in(labels, *shares.shape)
    of_label = np.take_along_axis(shares, classes[:, None], axis=1)[:, 0]
    return float(np.mean((shares**2).sum(axis=1) - 2 * of_label + 1))
