"""How sure a measured accuracy is, and whether two models' differ."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, ndtri

from pupil_trust.arrays import right_or_wrong, share


class Discordant(NamedTuple):
    """The images on which one of two models is right and the other wrong."""

    only_first: int
    only_second: int

    @property
    def p_value(self) -> float:
        """McNemar's (1947) exact two-sided p-value: how likely a difference this large is between equals."""
        count = sum(self)
        return min(1.0, 2 * float(bdtr(min(self), count, 0.5))) if count else 1.0


def mcnemar(first: ArrayLike, second: ArrayLike) -> Discordant:
    """Compares two models on the same images: `first` and `second`, both bool (N,), say where each is right.

    Images that both get right or both get wrong say nothing about the difference and do not count.
    """
    one, other = right_or_wrong(first, "first"), right_or_wrong(second, "second")
    if one.shape != other.shape:
        raise ValueError(f"first has {len(one)} images, second {len(other)}; the same images are wanted")
    return Discordant(int(np.sum(one & ~other)), int(np.sum(other & ~one)))


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
