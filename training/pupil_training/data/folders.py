"""Class folders: `<root>/<split>/<class>/*.png`, and `<root>/pool/` without classes."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pupil_training.data.pictures import FilePicture
from pupil_training.data.source import UNLABELLED, Listing
from pupil_training.errors import DataError
from pupil_training.settings import DataSettings

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


class Folders:
    """One folder a split, in it one folder a class; the pool is flat, or nested in any way."""

    def __init__(self, data: DataSettings) -> None:
        self._data = data
        self.classes = _classes(data.root / "train")

    def own(self, split: str) -> Listing | None:
        """The split's folder."""
        folder = self._data.root / split
        if not folder.is_dir() and split != "train":
            return None
        if split == "pool":
            return pictures_below(folder)
        return self._grouped(_labelled(folder, self.classes))

    def _grouped(self, listing: Listing) -> Listing:
        if not self._data.groups:
            return listing
        names = [relative(picture.name, self._data.root) for picture in listing.pictures]
        return Listing(listing.pictures, listing.labels, group_keys(names, self._data.groups))


def _classes(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        seen = "" if folder.is_absolute() else f", seen from {Path.cwd()}"
        raise DataError(f"{folder}: no such folder{seen}; data.root must hold train/<class>/*.png")
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if len(classes) < 2:
        raise DataError(f"{folder}: {len(classes)} class folders, at least two are needed")
    return classes


def _labelled(folder: Path, classes: tuple[str, ...]) -> Listing:
    here = _classes(folder)
    if here != classes:
        differ = sorted(set(here) ^ set(classes))
        raise DataError(f"{folder}: its classes are not those of train; only one of them has {', '.join(differ)}")
    found = [(path, label) for label, name in enumerate(classes) for path in images_below(folder / name)]
    labels = np.array([label for _, label in found], dtype=np.int64)
    return Listing([FilePicture(path) for path, _ in found], labels)


def pictures_below(folder: Path) -> Listing:
    """Every image file here or below, without labels. Raises DataError where there is none."""
    paths = images_below(folder)
    return Listing([FilePicture(path) for path in paths], np.full(len(paths), UNLABELLED))


def images_below(folder: Path) -> list[str]:
    """The paths of every image file here or below, in their order. Raises DataError where there is none."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    paths = sorted(_images(str(folder)), key=lambda path: path.split(os.sep))  # noqa: PTH206 (Path is 10 times slower)
    if not paths:
        raise DataError(f"{folder}: no images ({', '.join(SUFFIXES)}) here or below")
    return paths


def _images(folder: str) -> Iterator[str]:
    """Hidden files and folders are none of the user's: a Mac's `._1.jpg`, a notebook's copies of images."""
    with os.scandir(folder) as entries:  # it knows what is a folder, which Path.rglob asks the disk about
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _images(entry.path)
            elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                yield entry.path


def relative(name: str, root: Path) -> str:
    """A path as it is seen from `root`, where it lies below it; without the bytes that are no text in UTF-8."""
    seen = name.removeprefix(f"{root}{os.sep}")
    return seen if seen.isascii() else os.fsencode(seen).decode(errors="replace")


def group_keys(names: Sequence[str], pattern: str) -> list[str]:
    """What the first group of `pattern` that took part says about each name. Raises DataError where none did."""
    found = [re.search(pattern, name) for name in names]
    keys = [next((key for key in match.groups() if key is not None), None) if match else None for match in found]
    strangers = [name for name, key in zip(names, keys, strict=True) if key is None]
    if strangers:
        raise DataError(
            f"data.groups: {strangers[0]} and {len(strangers) - 1} other of {len(names)} images do not match; "
            "|^(.+)$ at its end makes each of them a group of its own"
        )
    return [key for key in keys if key is not None]
