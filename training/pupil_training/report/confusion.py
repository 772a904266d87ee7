"""Which class is taken for which."""

import math
from collections.abc import Sequence
from itertools import starmap

import numpy as np
from numpy.typing import NDArray

from pupil_training.evaluate import Counted, interval
from pupil_training.report.parts import Part

MOST_IN_MATRIX, MOST_IN_LIST = 20, 20  # classes
SHORT = 3  # letters of a name that a column has room for

Counts = NDArray[np.int64]


def confusion(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> Counts:
    """How many images (K, K) of the class of a row are given the class of a column."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def confusion_part(counts: Counts, classes: Sequence[str]) -> Part:
    """The matrix; of many classes, the part with the most mistakes."""
    shown = most_confused(counts, MOST_IN_MATRIX)
    largest = int(counts.sum(axis=1).max())
    rows = [(classes[true], [_cell(counts, true, given, largest) for given in shown]) for true in shown]
    names = [classes[place] for place in shown]
    return {"names": names, "long": max(map(len, names)) > SHORT, "rows": rows, "of": len(classes)}


def most_confused(counts: Counts, most: int) -> list[int]:
    """The classes that the most mistakes are made on or with, in their own order; all where there are few."""
    mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    return sorted(np.argsort(-mistakes, kind="stable")[:most].tolist())


def class_part(counts: Counts, classes: Sequence[str]) -> Part:
    """Accuracy of each class with its interval; of many classes, the worst ones."""
    counted = list(starmap(Counted, zip(counts.diagonal().tolist(), counts.sum(axis=1).tolist(), strict=True)))
    there = [place for place, each in enumerate(counted) if each.of]  # a class may have no image here
    if len(there) > MOST_IN_LIST:
        there = sorted(there, key=lambda place: (counted[place].share, place))[:MOST_IN_LIST]
    rows = [(classes[place], counted[place], *interval(counted[place])) for place in there]
    return {"rows": rows, "of": len(classes)}


def _cell(counts: Counts, true: int, given: int, largest: int) -> tuple[int, float, bool]:
    """The count, its shade from 0 to 1, and whether it is right; the root lets one mistake be seen beside a hundred."""
    count = int(counts[true, given])
    return count, round(math.sqrt(count / max(largest, 1)), 3), true == given
