"""The five splits of a data set, whichever source it has."""

import csv
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pupil_training.data.cut import cut, label_some
from pupil_training.data.folders import Folders
from pupil_training.data.images import ImageSet
from pupil_training.data.mnist import Mnist
from pupil_training.data.source import Listing, Source
from pupil_training.errors import DataError
from pupil_training.settings import DataSettings

SPLITS = ("train", "validation", "calibration", "test", "pool")
SOURCES: dict[str, Callable[[DataSettings], Source[Any]]] = {"folders": Folders, "mnist": Mnist}


def load_split(data: DataSettings, split: str) -> ImageSet:
    """One of `SPLITS`. A split that the source does not bring is cut out of `train`, by class and by `split_seed`.

    Raises DataError: a missing folder, an empty class, classes that differ, an unreadable image.
    """
    if split not in SPLITS:
        raise DataError(f"'{split}' is not a split; the splits are {', '.join(SPLITS)}")
    source = SOURCES[data.source](data)
    listing = _listing(source, data, split)
    if not len(listing):
        raise DataError(f"{data.root}: the {split} split is empty")
    return source.load(listing.unlabelled() if split == "pool" else listing, data.only or source.classes)


def hidden_labels(data: DataSettings) -> NDArray[np.int64] | None:
    """The labels (N,) of a pool that was cut out of labelled images, or that `<root>/pool_labels.csv` names.

    For judging only: nothing that learns may see them. None where nobody knows them.
    """
    source = SOURCES[data.source](data)
    own = source.own("pool")
    if own is None:
        return _listing(source, data, "pool").labels
    table = data.root / "pool_labels.csv"
    if not table.is_file():
        return None
    with table.open(newline="", encoding="utf-8") as file:
        named = {row["image"]: row["label"] for row in csv.DictReader(file)}
    classes = data.only or source.classes
    return np.array([classes.index(named[path.relative_to(data.root).as_posix()]) for path in own.items])


def has_split(data: DataSettings, split: str) -> bool:
    """Whether the source brings the split or the settings cut it out."""
    if getattr(data, split, 0) or (split == "pool" and data.labels is not None):
        return True
    source = SOURCES[data.source](data)
    return source.own(split) is not None


def _listing(source: Source[Any], data: DataSettings, split: str) -> Listing[Any]:
    own = None if split == "train" else source.own(split)
    if own is not None:
        return _only(own, source, data) if split != "pool" else own
    if split == "test":
        raise DataError(f"{data.root}: no test split")
    train = source.own("train")
    if train is None:
        raise DataError(f"{data.root}: no train split")
    return _cut_out(_only(train, source, data), source, data, split)


def _cut_out(train: Listing[Any], source: Source[Any], data: DataSettings, split: str) -> Listing[Any]:
    shares = {"validation": data.validation, "calibration": data.calibration, "pool": data.pool}
    shares = {name: share for name, share in shares.items() if share > 0 and source.own(name) is None}
    if split != "train" and split not in shares and not (split == "pool" and data.labels is not None):
        raise DataError(f"{data.root}: no {split} split of its own, and data.{split} = 0 cuts none out of train")
    if data.labels is not None:
        some, rest = label_some(train.labels, data.labels, data.split_seed)
        if split == "pool":
            return train.take(rest)
        train = train.take(some)
    chosen = train.take(cut(train.labels, shares, data.split_seed)[split])
    return _without(chosen, source, data) if split == "train" else chosen


def _only(listing: Listing[Any], source: Source[Any], data: DataSettings) -> Listing[Any]:
    """The images of `data.only`, their labels counted in its order."""
    if not data.only:
        return listing
    _check_known(data.only, source, "data.only")
    place = np.full(len(source.classes), -1)
    place[[source.classes.index(name) for name in data.only]] = np.arange(len(data.only))
    kept = listing.take(np.flatnonzero(place[listing.labels] >= 0))
    return Listing(kept.items, place[kept.labels])


def _without(listing: Listing[Any], source: Source[Any], data: DataSettings) -> Listing[Any]:
    """The images of every class but those of `data.leave_out`."""
    _check_known(data.leave_out, source, "data.leave_out")
    classes = data.only or source.classes
    out = [classes.index(name) for name in data.leave_out if name in classes]
    return listing.take(np.flatnonzero(~np.isin(listing.labels, out)))


def _check_known(names: tuple[str, ...], source: Source[Any], setting: str) -> None:
    if unknown := set(names) - set(source.classes):
        raise DataError(f"{setting}: no class {sorted(unknown)}; the classes are {', '.join(source.classes)}")
