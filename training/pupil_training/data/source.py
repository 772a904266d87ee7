"""What every source of images can do: name its images, and load those that are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pupil_training.data.images import ImageSet

Item = TypeVar("Item")
UNLABELLED = -1


@dataclass(frozen=True)
class Listing(Generic[Item]):
    """Images that are not loaded yet."""

    items: Sequence[Item]
    labels: NDArray[np.int64]  # (N,), places in the classes; UNLABELLED where nobody labelled

    def __len__(self) -> int:
        return len(self.items)

    def take(self, chosen: NDArray[np.int64]) -> "Listing[Item]":
        """Those at these places, in this order."""
        return Listing([self.items[i] for i in chosen.tolist()], self.labels[chosen])

    def unlabelled(self) -> "Listing[Item]":
        """The same images, their labels forgotten."""
        return Listing(self.items, np.full(len(self), UNLABELLED))


class Source(Protocol[Item]):
    """A data set. `own` lists the split that it brings itself, or says that it has none of that name."""

    classes: tuple[str, ...]

    def own(self, split: str) -> Listing[Item] | None: ...

    def load(self, listing: Listing[Item], classes: tuple[str, ...]) -> ImageSet:
        """Raises DataError where an image cannot be read."""
        ...
