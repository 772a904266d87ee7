"""The five splits of a data set, whichever source it has."""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pupil_training.data.assigned import Assigned
from pupil_training.data.cifar import Cifar
from pupil_training.data.folders import Folders, relative
from pupil_training.data.from_torchvision import Torchvision
from pupil_training.data.idx import open_idx
from pupil_training.data.images import ImageSet, Pictures
from pupil_training.data.mnist import open_mnist
from pupil_training.data.opening import load, stream
from pupil_training.data.overlap import AGAINST, Marked, shared
from pupil_training.data.pictures import Picture
from pupil_training.data.reading import read
from pupil_training.data.source import SPLITS, Listing, Source
from pupil_training.data.table import Table
from pupil_training.data.written_splits import WrittenSplit, WrittenSplits, places_of, read_splits
from pupil_training.errors import DataError
from pupil_training.settings import DataSettings

Opened = TypeVar("Opened", bound=Pictures)
SOURCES: dict[str, Callable[[DataSettings], Source]] = {
    "folders": Folders,
    "table": Table,
    "idx": open_idx,
    "mnist": open_mnist,
    "cifar": Cifar,
    "torchvision": Torchvision,
}


def load_split(data: DataSettings, split: str) -> ImageSet:
    """One of `SPLITS`. A split that the source does not bring is cut out of `train`, by class and by `split_seed`.

    Raises DataError: a missing folder, an empty class, classes that differ, an unreadable image.
    """
    return Splits(data).load(split)


def has_split(data: DataSettings, split: str) -> bool:
    """Whether the source brings the split or the settings make it."""
    return Splits(data).has(split)


class Splits:
    """The splits as they are on the disk now: each listed once, each image's bytes hashed once."""

    def __init__(self, data: DataSettings) -> None:
        self.data = data
        self._assigned = Assigned(SOURCES[data.source.partition("/")[0]](data), data)
        self.classes = self._assigned.classes
        self._dropped: dict[str, tuple[str, ...]] = {}  # by split, what `data.overlap` = 'drop' left out of it
        self._skipped: dict[str, tuple[str, ...]] = {}  # by split, what could not be read
        self._written = dict(read_splits(data.splits).splits) if data.splits else {}
        self._listings: dict[str, Listing] = {}
        self._digests: dict[Picture, str] = {}

    def has(self, split: str) -> bool:
        """Whether there are images for it."""
        if split in self._written or self._assigned.own(split) is not None:
            return True
        return self.cuts(split)

    def cuts(self, split: str) -> bool:
        """Whether it is cut out of train here, so that it changes where train does."""
        return not self._written and self._assigned.cuts(split)

    def load(self, split: str) -> ImageSet:
        """In memory."""
        return self._remembered(split, load(self.listing(split), self.data, self.classes))

    def stream(self, split: str) -> Pictures:
        """To be decoded when it is asked for."""
        return self._remembered(split, stream(self.listing(split), self.data, self.classes))

    def streams(self, count: int) -> bool:
        """Whether so many images are too much to keep, by `data.memory`."""
        if self.data.memory != "auto":
            return self.data.memory == "stream"
        size = self.data.height * self.data.width * self.data.channels  # bytes of one
        return count * size > self.data.memory_limit_gb * 1e9

    def open(self, split: str, streamed: bool | None = None) -> Pictures:
        """In memory or streamed, or whichever its own size asks for."""
        if streamed is None:
            streamed = self.streams(len(self.listing(split)))
        return self.stream(split) if streamed else self.load(split)

    def listing(self, split: str) -> Listing:
        """The split's pictures, not read yet. Raises DataError where there are none."""
        if split not in SPLITS:
            raise DataError(f"'{split}' is not a split; the splits are {', '.join(SPLITS)}")
        if split not in self._listings:
            listing = self._reused(split) if split in self._written else self._made(split)
            if self.data.overlap == "drop":
                listing = self._without_known(split, listing)
            if not len(listing):
                raise DataError(f"{self.data.root}: the {split} split is empty")
            self._listings[split] = listing
        return self._listings[split]

    def hidden_labels(self) -> NDArray[np.int64] | None:
        """The pool's labels (N,) where somebody knows them, for judging only: nothing that learns may see them."""
        hidden, pool = self._assigned.hidden(), self.listing("pool").pictures
        if any(picture.name not in hidden for picture in pool):
            return None
        return np.array([hidden[picture.name] for picture in pool])

    def marked(self, split: str) -> Marked:
        """The split's images with what tells them; hashes those that were not read yet."""
        return self.mark(self.listing(split))

    def mark(self, listing: Listing) -> Marked:
        """Any images with what tells them."""
        names = [relative(picture.name, self.data.root) for picture in listing.pictures]
        digests = self.hashed(listing.pictures)
        return Marked(names, [digests] if listing.groups is None else [digests, listing.groups])

    def known(self, split: str, marked: Marked) -> NDArray[np.bool_]:
        """Which of these images, meant for `split`, are also in a split that must stay new to it."""
        others = [self.marked(other) for other in AGAINST.get(split, ()) if self.has(other)]
        return np.any([shared(marked, other) for other in others], axis=0) if others else np.zeros(len(marked), bool)

    def touched(self, read: Collection[str]) -> list[str]:
        """The splits that matter to a run which reads some: those, all that are to be judged on, a pool that was cut.

        The test split counts only by its digests, and not at all where overlap is allowed.
        """
        others = {"calibration"} if self.data.overlap == "allow" else {"calibration", "test"}
        if self.cuts("pool") or "pool" in self._written:
            others.add("pool")
        return [split for split in SPLITS if split in read or (split in others and self.has(split))]

    def written_down(self, read: Collection[str], pseudo: Marked | None = None) -> WrittenSplits:
        """The splits of such a run and its pseudo-labelled images, to be kept in its splits.json."""
        parts = {split: self.marked(split) for split in self.touched(read)}
        return WrittenSplits(
            split_seed=self.data.split_seed,
            settings=self.data.model_dump(mode="json"),
            classes=self.classes,
            splits={split: WrittenSplit.of(part) for split, part in parts.items()},
            pseudo_labelled=WrittenSplit.of(pseudo) if pseudo else None,
            dropped=self._dropped,
            skipped=self._skipped,
        )

    def _made(self, split: str) -> Listing:
        if self._written and self._assigned.own(split) is None:
            there = ", ".join(self._written)
            raise DataError(f"{self.data.splits}: holds no {split} split, only {there}, and {self.data.root} has none")
        return self._assigned.listing(split)

    def _reused(self, split: str) -> Listing:
        """The images that `data.splits` names, wherever the source has them now."""
        everything = self._assigned.everything(labelled=split != "pool")
        marked = self.mark(everything)
        places = places_of(self._written[split], marked.names, marked.marks[0], f"{self.data.splits}, {split}")
        listing = everything.take(places)
        if split == "pool":
            return listing.unlabelled()
        listing = self._assigned.only(listing)
        return self._assigned.without(listing) if split == "train" else listing

    def _without_known(self, split: str, listing: Listing) -> Listing:
        marked = self.mark(listing)
        known = self.known(split, marked)
        if known.any():
            self._dropped[split] = tuple(marked.names[i] for i in np.flatnonzero(known).tolist())
        return listing.take(np.flatnonzero(~known))

    def hashed(self, pictures: Sequence[Picture]) -> list[str]:
        """The SHA-256 of each one's own bytes; those that were read or hashed before are not touched again."""
        new = [picture for picture in pictures if picture not in self._digests]
        reading = read(new, None, what=f"hashing {self.data.root}" if new else None)
        if problem := reading.first_problem():
            raise DataError(problem)
        self._digests.update(zip(new, reading.digests, strict=True))
        return [self._digests[picture] for picture in pictures]

    def _remembered(self, split: str, pictures: Opened) -> Opened:
        """What was read need not be hashed again; what could not be read is no longer in the split."""
        self._digests.update(zip(pictures.pictures, pictures.digests, strict=True))
        if pictures.skipped:
            self._skipped[split] = pictures.skipped
            readable = set(pictures.pictures)
            listing = self._listings[split]
            places = [place for place, picture in enumerate(listing.pictures) if picture in readable]
            self._listings[split] = listing.take(np.array(places))
        return pictures
