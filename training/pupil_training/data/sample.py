"""How often each image comes in an epoch, where that is not once: pseudo-labels brought into proportion.

Noisy Student (Xie et al. 2020, section 3.2) balances the classes of the pseudo-labelled images and feeds several of
them for each labelled one.
"""

import torch
from torch import Tensor

MOST_REPEATS = 5  # of an image of a rare class


def balanced(labels: Tensor, confidence: Tensor) -> Tensor:
    """How often (N,) each image with these labels (N,) comes, so that classes come as often as the median class.

    Of a larger class the surest ones come once and the others not at all; those of a smaller one are repeated, each
    at most `MOST_REPEATS` times.
    """
    repeats = torch.zeros_like(labels)
    present, counts = torch.unique(labels, return_counts=True)
    median = int(counts.double().quantile(0.5))
    for label, count in zip(present.tolist(), counts.tolist(), strict=True):
        mine = (labels == label).nonzero()[:, 0]
        if count > median:
            surest = confidence[mine].argsort(descending=True, stable=True)[:median]
            repeats[mine[surest]] = 1
        else:
            repeats[mine] = spread(count, min(median, MOST_REPEATS * count))
    return repeats


def spread(count: int, wanted: int) -> Tensor:
    """How often (count,) each of `count` images comes in a list of `wanted`: as often as any other, or once more."""
    return (torch.arange(wanted) * count // wanted).bincount(minlength=count)


def listed(repeats: Tensor) -> Tensor:
    """The list (M,) of places in which place i stands `repeats[i]` times."""
    return torch.arange(len(repeats)).repeat_interleave(repeats)


def in_proportion(labelled: int, repeats: Tensor, ratio: float) -> Tensor:
    """The epoch's list (M,) for `labelled` images, and after them pseudo-labelled ones that come `repeats` (N,) times.

    It has at most `ratio` of these for each of those (0: as they are). Only labelled ones are repeated, so where
    there are few pseudo-labelled ones the ratio stays smaller.
    """
    wanted = labelled if ratio == 0 else max(labelled, round(int(repeats.sum()) / ratio))
    return listed(torch.cat([spread(labelled, wanted), repeats]))
