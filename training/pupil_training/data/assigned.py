"""Which images of a source belong to which split: those that it brings itself, and those cut out of `train`."""

import numpy as np
from numpy.typing import NDArray

from pupil_training.data.cut import cut, cut_groups, label_some
from pupil_training.data.folders import pictures_below
from pupil_training.data.source import SPLITS, Listing, Source, all_of
from pupil_training.data.table import csv_rows
from pupil_training.errors import DataError
from pupil_training.settings import DataSettings


class Assigned:
    """Each split of a source, listed once."""

    def __init__(self, source: Source, data: DataSettings) -> None:
        self._source, self._data = source, data
        self.classes = data.only or source.classes
        self._own: dict[str, Listing | None] = {}
        self._parts: dict[str, Listing] = {}
        self._hidden: dict[str, int] = {}  # the label of each picture of a pool that was cut out, by its name

    def own(self, split: str) -> Listing | None:
        """All that the source brings as this split, or that `data.pool_root` holds."""
        if split not in self._own:
            folder = self._data.pool_root if split == "pool" else None
            self._own[split] = pictures_below(folder) if folder else self._source.own(split)
        return self._own[split]

    def cuts(self, split: str) -> bool:
        """Whether the settings cut it out of train."""
        if self.own(split) is not None:
            return False
        return bool(self._shares().get(split)) or (split == "pool" and self._data.labels is not None)

    def listing(self, split: str) -> Listing:
        """Raises DataError where the source has no such split and none is cut out."""
        own = self.own(split)
        if own is not None and split != "train":
            return own if split == "pool" else self.only(own)
        if split in ("train", "test") and own is None:
            raise DataError(f"{self._data.root}: no {split} split")
        if split != "train" and not self.cuts(split):
            what = f"no {split} split of its own, and data.{split} = 0 cuts none out of train"
            raise DataError(f"{self._data.root}: {what}")
        if not self._parts:
            self._parts = self._cut()
        return self._parts[split]

    def hidden(self) -> dict[str, int]:
        """The labels of a pool that was cut out of train or that `<root>/pool_labels.csv` tells, by name of picture."""
        if self.cuts("pool"):
            self.listing("pool")
            return self._hidden
        table = self._data.root / "pool_labels.csv"
        if not table.is_file():
            return {}
        place = {name: place for place, name in enumerate(self.classes)}
        hidden = {}
        for row in csv_rows(table, "image", "label"):
            if row["label"] not in place:
                raise DataError(f"{table}: {row['image']} is labelled '{row['label']}', which is no class of train")
            hidden[str(self._data.root / row["image"])] = place[row["label"]]
        return hidden

    def everything(self, *, labelled: bool) -> Listing:
        """All that the source brings, whatever split it is in, with the pool or without."""
        own = [self.own(split) for split in SPLITS if split != "pool" or not labelled]
        return all_of([listing for listing in own if listing is not None])

    def only(self, listing: Listing) -> Listing:
        """The images of `data.only`, their labels counted in its order."""
        if not self._data.only:
            return listing
        self._check_known(self._data.only, "data.only")
        place = np.full(len(self._source.classes), -1)
        place[[self._source.classes.index(name) for name in self.classes]] = np.arange(len(self.classes))
        kept = listing.take(np.flatnonzero(place[listing.labels] >= 0))
        return kept.labelled(place[kept.labels])

    def without(self, listing: Listing) -> Listing:
        """The images of every class but those of `data.leave_out`."""
        self._check_known(self._data.leave_out, "data.leave_out")
        out = [self.classes.index(name) for name in self._data.leave_out if name in self.classes]
        return listing.take(np.flatnonzero(~np.isin(listing.labels, out)))

    def _shares(self) -> dict[str, float]:
        """Of train's labelled images, by the split that they go to."""
        shares = {name: getattr(self._data, name) for name in ("validation", "calibration", "pool")}
        return {name: share for name, share in shares.items() if share > 0 and self.own(name) is None}

    def _cut(self) -> dict[str, Listing]:
        train = self.own("train")
        assert train is not None  # `listing` saw to it
        train = self.only(train)
        self._check_classes(train)
        parts: dict[str, Listing] = {}
        if self._data.labels is not None:
            train, parts["pool"] = self._label_some(train, self._data.labels)
        parts |= {name: train.take(chosen) for name, chosen in self._parted(train).items()}
        if "pool" in parts:
            names = [picture.name for picture in parts["pool"].pictures]
            self._hidden = dict(zip(names, parts["pool"].labels.tolist(), strict=True))
            parts["pool"] = parts["pool"].unlabelled()
        return {**parts, "train": self.without(parts["train"])}

    def _parted(self, train: Listing) -> dict[str, NDArray[np.int64]]:
        if train.groups is None:
            return cut(train.labels, self.classes, self._shares(), self._data.split_seed)
        return cut_groups(train.labels, train.groups, self._shares(), self._data.split_seed)

    def _label_some(self, train: Listing, count: int) -> tuple[Listing, Listing]:
        if train.groups is not None:
            raise DataError("data.labels would tear groups apart; leave it out, or the groups")
        some, rest = label_some(train.labels, count, self._data.split_seed)
        return train.take(some), train.take(rest)

    def _check_classes(self, train: Listing) -> None:
        empty = np.setdiff1d(np.arange(len(self.classes)), train.labels)
        if len(empty):
            names = ", ".join(f"'{self.classes[i]}'" for i in empty[:3]) + (", …" if len(empty) > 3 else "")
            raise DataError(f"{self._data.root}: train has no image of class {names}; data.only chooses classes")

    def _check_known(self, names: tuple[str, ...], setting: str) -> None:
        known = self._source.classes
        if unknown := set(names) - set(known):
            raise DataError(f"{setting}: no class {sorted(unknown)}; the classes are {', '.join(known)}")
