"""One number that makes a classifier's scores honest: softmax(logits / temperature)."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from pupil_trust.arrays import places_in

COLDEST, HOTTEST = 0.01, 100.0


def negative_log_likelihood(logits: ArrayLike, labels: ArrayLike, temperature: float = 1.0) -> float:
    """Mean of -log softmax(logits / temperature)[label], in nats.

    `logits` (N, K), `labels` (N,) whole numbers below K. ValueError for empty, NaN or ill-shaped input.
    """
    return _mean_loss(*_checked(logits, labels), temperature)


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The temperature with the least negative log-likelihood (Guo et al. 2017, section 4.2), in [0.01, 100].

    `logits` (N, K) and `labels` (N,) must come from images that trained nothing and chose nothing. Dividing by
    one number keeps every ranking. The loss is convex in 1/T, so it has one valley along log T as well. Where
    every image is right the loss falls for ever as T does and says nothing: then the answer is 1.

    Raises ValueError for empty, NaN or ill-shaped input.
    """
    from scipy.optimize import minimize_scalar  # a second to import, which a server would pay at every start

    numbers, classes = _checked(logits, labels)
    of_label = np.take_along_axis(numbers, classes[:, None], axis=1)[:, 0]
    if (of_label == numbers.max(axis=1)).all():
        return 1.0
    found = minimize_scalar(
        lambda log_temperature: _mean_loss(numbers, classes, math.exp(log_temperature)),
        bounds=(math.log(COLDEST), math.log(HOTTEST)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return math.exp(float(found.x))


def _mean_loss(logits: NDArray[np.float64], labels: NDArray[np.int64], temperature: float) -> float:
    scaled = logits / temperature
    of_label = np.take_along_axis(scaled, labels[:, None], axis=1)[:, 0]
    return float(np.mean(logsumexp(scaled, axis=1) - of_label))


def _checked(logits: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    numbers = np.asarray(logits, dtype=np.float64)
    if numbers.ndim != 2 or numbers.shape[0] == 0 or numbers.shape[1] < 2:
        raise ValueError(f"logits have the shape {numbers.shape}; at least one image and two classes are wanted")
    if not np.isfinite(numbers).all():
        raise ValueError("logits hold NaN or infinity")
    return numbers, places_in(labels, *numbers.shape)
