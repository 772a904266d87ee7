"""torchvision's own data sets, by name, from files that are here."""

import difflib
import hashlib
import inspect
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from pupil_training.data.pictures import Read, png
from pupil_training.data.source import Listing, checked_labels, numbered
from pupil_training.errors import DataError
from pupil_training.preprocess import Preprocess, UnreadableImage
from pupil_training.settings import DataSettings

THEIR_NAMES = {  # of our splits
    "train": ("train", "trainval"),
    "validation": ("val", "valid", "validation"),
    "test": ("test",),
    "pool": ("unlabeled",),
}
ONE_AT_A_TIME = threading.Lock()  # some of their sets share a file position or a random state between images


class Opening(NamedTuple):
    """What opens a data set, here or in another process."""

    name: str
    options: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class TorchvisionPicture:
    """One image of a data set; its bytes are those of its pixels, before resizing."""

    opening: Opening
    name: str
    place: int

    def read(self, preprocess: Preprocess | None) -> Read:
        image = self._image()
        digest = hashlib.sha256(np.asarray(image).tobytes()).hexdigest()
        return Read(digest, None if preprocess is None else preprocess.fit(image))

    def encoded(self) -> bytes:
        return png(np.asarray(self._image()))

    def _image(self) -> Any:
        with ONE_AT_A_TIME:
            try:
                image, _ = _opened(self.opening)[self.place]
            except (OSError, SyntaxError, ValueError) as error:
                raise UnreadableImage(f"not a readable image ({error})") from None
        return image


class Torchvision:
    """`torchvision/NAME`; `data.options` are arguments of its constructor. Downloads only if `data.download`."""

    def __init__(self, data: DataSettings) -> None:
        _opened.cache_clear()  # the files may be others than they were
        self._data = data
        self._name = data.source.removeprefix("torchvision/")
        self._takes = inspect.signature(_constructor(self._name)).parameters
        train = self._open("train")
        if train is None:
            raise DataError(f"{data.source}: brings no train split with these data.options")
        dataset, self._train_labels = _opened(train), _labels(train)
        named = getattr(dataset, "classes", None)
        self.classes = _names(named) if named else numbered(int(self._train_labels.max()) + 1)

    def own(self, split: str) -> Listing | None:
        """By the set's own convention: `train=` or `split=`; a set without either is all train."""
        opening = self._open(split)
        if opening is None:
            return None
        labels = self._train_labels if split == "train" else _labels(opening)
        if split != "pool":
            labels = checked_labels(labels, self.classes, f"{self._data.source}, {split}")
        listing = Listing([TorchvisionPicture(opening, f"{split}/{i}", i) for i in range(len(labels))], labels)
        return listing.unlabelled() if split == "pool" else listing

    def _open(self, split: str) -> Opening | None:
        """What opens this split, tried once; None where the set has none."""
        options = dict(self._data.options)
        if "root" in self._takes:
            options["root"] = str(self._data.root)
        if "train" in self._takes or "split" in options:
            return self._tried({**options, "train": split == "train"}) if split in ("train", "test") else None
        if "split" in self._takes:
            tried = (self._tried({**options, "split": name}) for name in THEIR_NAMES.get(split, ()))
            return next((opening for opening in tried if opening is not None), None)
        return self._tried(options) if split == "train" else None

    def _tried(self, options: Mapping[str, Any]) -> Opening | None:
        opening = Opening(self._name, tuple(sorted((key, _frozen(value)) for key, value in options.items())))
        source = self._data.source
        try:
            if self._data.download and "download" in self._takes:
                _constructor(self._name)(**options, download=True)
            _opened(opening)
        except ValueError:  # this is how they answer to a split that they do not have
            return None
        except ImportError as error:
            raise DataError(f"{source}: needs a package that is not here ({error})") from None
        except TypeError as error:
            raise DataError(f"{source}: {error}; data.options are the arguments of its constructor") from None
        except (RuntimeError, OSError) as error:
            line = str(error).splitlines()[0]
            raise DataError(
                f"{source}: not in {self._data.root} ({line}); set data.root, or data.download = true"
            ) from None
        return opening


@lru_cache(maxsize=8)
def _opened(opening: Opening) -> Any:
    return _constructor(opening.name)(**dict(opening.options))


def _constructor(name: str) -> Any:
    from torchvision import datasets  # takes longer to import than torch itself

    if name not in datasets.__all__:
        near = difflib.get_close_matches(name, datasets.__all__, n=1, cutoff=0.6)
        raise DataError(f"torchvision/{name}: no such data set{f'; did you mean {near[0]}?' if near else ''}")
    return getattr(datasets, name)


def _labels(opening: Opening) -> Any:
    """The labels (N,), from the list that most sets keep, or else from every image in turn."""
    dataset = _opened(opening)
    for attribute in ("targets", "labels", "_labels"):
        kept = getattr(dataset, attribute, None)
        if kept is not None and np.shape(kept) == (len(dataset),) and np.asarray(kept).dtype.kind in "iu":
            return np.asarray(kept, dtype=np.int64)
    try:
        return np.array([int(dataset[i][1]) for i in range(len(dataset))], dtype=np.int64)
    except (TypeError, ValueError):
        raise DataError(f"torchvision/{opening.name}: its labels are not one class an image") from None


def _names(classes: Any) -> tuple[str, ...]:
    """ImageNet gives each class several names, and two kinds of crane the same one."""
    names = [name if isinstance(name, str) else ", ".join(name) for name in classes]
    times = [names[: place + 1].count(name) for place, name in enumerate(names)]
    return tuple(name if time == 1 else f"{name} ({time})" for name, time in zip(names, times, strict=True))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
