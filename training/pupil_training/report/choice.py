"""Which images are worth a look: few, and the same ones every time."""

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]


def confident_mistakes(confidence: NDArray[np.float64], correct: NDArray[np.bool_], most: int) -> Places:
    """The wrong answers, the surest first."""
    wrong = np.flatnonzero(~correct)
    return wrong[np.argsort(-confidence[wrong], kind="stable")][:most]


def differing(ours: Places, theirs: Places, surety: NDArray[np.float64], most: int) -> Places:
    """Images to which two models give different classes, those first of which they are surest."""
    differ = np.flatnonzero(ours != theirs)
    return differ[np.argsort(-surety[differ], kind="stable")][:most]


def agreeing(ours: Places, theirs: Places, surety: NDArray[np.float64], most: int) -> Places:
    """Images to which both give the same class: the surest one of each class, of classes from first to last."""
    agree = np.flatnonzero(ours == theirs)
    surest = agree[np.argsort(-surety[agree], kind="stable")]
    _, first = np.unique(ours[surest], return_index=True)  # the first of each class, in the order of classes
    spread = np.unique(np.linspace(0, len(first) - 1, min(most, len(first))).round().astype(np.int64))
    return surest[first[spread]]
