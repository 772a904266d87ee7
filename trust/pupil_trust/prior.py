"""Biases that make a classifier's mean scores agree with known shares of the classes."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, softmax


def prior_shift(logits: ArrayLike, prior: ArrayLike) -> NDArray[np.float64]:
    """What to add to each class's logit, (K,), so that the mean of softmax(logits + shift) over images is `prior`.

    `logits` (N, K) of unlabelled images, `prior` (K,) shares that sum to 1; no label is needed. The shift is the
    minimum of mean logsumexp(logits + shift) - prior · shift, which is convex and whose gradient is that difference.
    It has mean 0. A class with no share at all gets no image: its shift is as low as the search went.

    Raises ValueError for ill-shaped input, NaN, or shares that do not sum to 1.
    """
    from scipy.optimize import minimize  # a second to import, which a server would pay at every start

    numbers, shares = np.asarray(logits, dtype=np.float64), np.asarray(prior, dtype=np.float64)
    if numbers.ndim != 2 or not len(numbers) or shares.shape != numbers.shape[1:]:
        raise ValueError(
            f"logits {numbers.shape} and prior {shares.shape}; (images, classes) and (classes,) are wanted"
        )
    if not np.isfinite(numbers).all():
        raise ValueError("logits hold NaN or infinity")
    if not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(f"prior sums to {shares.sum():g}; shares that sum to 1 are wanted")

    def excess(shift: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        shifted = numbers + shift
        return float(logsumexp(shifted, axis=1).mean() - shares @ shift), softmax(shifted, axis=1).mean(axis=0) - shares

    found = minimize(excess, np.zeros(len(shares)), jac=True, method="L-BFGS-B").x
    shift: NDArray[np.float64] = found - found.mean()
    return shift
