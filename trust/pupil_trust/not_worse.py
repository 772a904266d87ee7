"""Whether a new model is no worse than the one before, from both's answers on the same labelled images.

McNemar's test asks whether two models differ: that it finds no difference proves nothing, least of all on few images.
"Not worse" is the other way round. The claim to be refuted is that the new model is right on at least `margin` less of
all images, and only the refuted claim lets it pass (non-inferiority).
"""

import math

import numpy as np
from scipy.special import logsumexp

from pupil_trust.arrays import share

BETS = 100  # stakes that the capital is spread over


def evidence_not_worse(only_old: int, only_new: int, images: int, margin: float) -> float:
    """How strongly the counts speak against "the new one is worse by at least `margin`", as a logarithm.

    `only_old` of the `images` are right with the old model alone, `only_new` with the new one alone. It is the capital
    of a gambler who begins with 1 and bets on each image's loss, -1, 0 or 1, being less than `margin` (Waudby-Smith
    and Ramdas 2024, Estimating means of bounded random variables by betting, section 4; the stakes are a mixture as in
    Robbins 1970, so that the order of the images does not matter). Under the claim it is a supermartingale, whatever
    the share of images on which the two differ: the chance that it ever reaches 1 / delta is at most delta (Ville
    1939). So it is exact for any number of images, and more of them may be added after a look.
    """
    share(margin, "margin")
    if min(only_old, only_new) < 0 or only_old + only_new > images:
        raise ValueError(f"{only_old} and {only_new} images of {images}; counts that fit together are wanted")
    stakes = np.arange(1, BETS) / BETS / (1 - margin)  # at the largest, one loss would take everything
    capital = (
        only_old * np.log1p(stakes * (margin - 1))
        + only_new * np.log1p(stakes * (margin + 1))
        + (images - only_old - only_new) * np.log1p(stakes * margin)
    )
    return float(logsumexp(capital) - math.log(len(stakes)))


def is_not_worse(only_old: int, only_new: int, images: int, *, margin: float, delta: float) -> bool:
    """Whether the claim is refuted: the chance of a wrong yes is at most `delta`."""
    return evidence_not_worse(only_old, only_new, images, margin) >= -math.log(share(delta, "delta"))


def needed_for_not_worse(margin: float, delta: float, only_old: int = 0, only_new: int = 0) -> int:
    """The fewest images that are enough for a yes with so many on which the two differ."""
    images = only_old + only_new
    step = 1
    while not is_not_worse(only_old, only_new, images + step, margin=margin, delta=delta):
        step *= 2
    low, high = images + step // 2, images + step
    while high - low > 1:
        middle = (low + high) // 2
        if is_not_worse(only_old, only_new, middle, margin=margin, delta=delta):
            high = middle
        else:
            low = middle
    return high
