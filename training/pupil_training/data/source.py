"""What every source of images can do: list the splits that it brings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pupil_training.data.pictures import Picture
from pupil_training.errors import DataError

SPLITS = ("train", "validation", "calibration", "test", "pool")
UNLABELLED = -1


@dataclass(frozen=True)
class Listing:
    """Pictures that are not read yet."""

    pictures: Sequence[Picture]
    labels: NDArray[np.int64]  # (N,), places in the classes; UNLABELLED where nobody labelled
    groups: Sequence[str] | None = None  # (N,), pictures of one group stay together; None where each is alone

    def __len__(self) -> int:
        return len(self.pictures)

    def take(self, chosen: NDArray[np.int64]) -> "Listing":
        """Those at these places, in this order."""
        places = chosen.tolist()
        groups = None if self.groups is None else [self.groups[i] for i in places]
        return Listing([self.pictures[i] for i in places], self.labels[chosen], groups)

    def labelled(self, labels: NDArray[np.int64]) -> "Listing":
        """The same pictures with other labels."""
        return Listing(self.pictures, labels, self.groups)

    def unlabelled(self) -> "Listing":
        """The same pictures, their labels forgotten."""
        return self.labelled(np.full(len(self), UNLABELLED))


def all_of(listings: Sequence[Listing]) -> Listing:
    """One after the other; their groups are forgotten."""
    pictures = [picture for listing in listings for picture in listing.pictures]
    return Listing(pictures, np.concatenate([listing.labels for listing in listings]))


class Source(Protocol):
    """A data set. `own` lists the split that it brings itself, or says that it has none of that name."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    def own(self, split: str) -> Listing | None: ...


def numbered(count: int) -> tuple[str, ...]:
    """The classes of a set that has only numbers."""
    return tuple(str(label) for label in range(count))


def checked_labels(labels: ArrayLike, classes: Sequence[str], where: str) -> NDArray[np.int64]:
    """The labels (N,). Raises DataError where one is not a place in `classes`."""
    numbers = np.asarray(labels, dtype=np.int64)
    wrong = np.flatnonzero((numbers < 0) | (numbers >= len(classes)))
    if len(wrong):
        found = numbers[wrong[0]]
        raise DataError(f"{where}: image {wrong[0]} has label {found}, but the classes are 0 to {len(classes) - 1}")
    return numbers
