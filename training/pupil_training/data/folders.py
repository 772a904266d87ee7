"""Class folders: `<root>/<split>/<class>/*.png`, and a flat `<root>/pool/`."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from pupil_training.data.images import ImageSet, set_sha256
from pupil_training.data.source import UNLABELLED, Listing
from pupil_training.errors import DataError
from pupil_training.preprocess import Preprocess, UnreadableImage
from pupil_training.settings import DataSettings

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class Read:
    """One file's digest, and its pixels (H, W, C) or why there are none."""

    sha256: str
    pixels: NDArray[np.uint8] | None
    problem: str = ""


class Folders:
    """One folder a split, in it one folder a class; the pool is flat. An image is its path."""

    def __init__(self, data: DataSettings) -> None:
        self._data = data
        self.classes = _classes(data.root / "train")

    def own(self, split: str) -> Listing[Path] | None:
        """The split's folder."""
        folder = self._data.root / split
        if not folder.is_dir() and split != "train":
            return None
        if split == "pool":
            paths = images_below(folder)
            return Listing(paths, np.full(len(paths), UNLABELLED))
        return _labelled(folder, self.classes)

    def load(self, listing: Listing[Path], classes: tuple[str, ...]) -> ImageSet:
        """The pictures, decoded in threads."""
        preprocess = Preprocess.of(self._data)
        with ThreadPoolExecutor() as threads:
            reads = threads.map(lambda path: read_image(path, preprocess), listing.items)
            what = f"reading {self._data.root}"
            read = list(tqdm(reads, what, total=len(listing), unit="image", leave=False, disable=None))
        return _image_set(listing, read, classes, self._data)


def _image_set(listing: Listing[Path], read: list[Read], classes: tuple[str, ...], data: DataSettings) -> ImageSet:
    bad = [f"{path}: {one.problem}" for path, one in zip(listing.items, read, strict=True) if one.problem]
    if bad and data.unreadable == "refuse":
        raise DataError(f"{bad[0]}; {len(bad)} of {len(read)} images are unreadable (data.unreadable=skip)")
    good = np.flatnonzero([one.pixels is not None for one in read])
    if not len(good):
        raise DataError(f"{data.root}: none of its {len(read)} images is readable")
    kept = listing.take(good)
    labelled = bool((kept.labels != UNLABELLED).all())
    digests = tuple(read[i].sha256 for i in good)
    names = [classes[label] if labelled else "" for label in kept.labels]
    return ImageSet(
        images=torch.from_numpy(np.stack([one.pixels for one in read if one.pixels is not None])),
        labels=torch.from_numpy(kept.labels) if labelled else None,
        classes=classes,
        sha256=set_sha256(zip(digests, names, strict=True)),
        digests=digests,
        encoded=lambda i: kept.items[i].read_bytes(),
        skipped=tuple(bad),
    )


def _classes(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; data.root must hold train/<class>/*.png")
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if len(classes) < 2:
        raise DataError(f"{folder}: {len(classes)} class folders, at least two are needed")
    return classes


def _labelled(folder: Path, classes: tuple[str, ...]) -> Listing[Path]:
    here = _classes(folder)
    if here != classes:
        differ = sorted(set(here) ^ set(classes))
        raise DataError(f"{folder}: its classes are not those of train; only one of them has {', '.join(differ)}")
    found = [(path, label) for label, name in enumerate(classes) for path in images_below(folder / name)]
    return Listing([path for path, _ in found], np.array([label for _, label in found], dtype=np.int64))


def images_below(folder: Path) -> list[Path]:
    """Every image file here or below, in the order of its path. Raises DataError where there is none."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise DataError(f"{folder}: no images ({', '.join(SUFFIXES)}) here or below")
    return paths


def read_image(path: Path, preprocess: Preprocess) -> Read:
    """One file, decoded."""
    file = path.read_bytes()
    digest = hashlib.sha256(file).hexdigest()
    try:
        return Read(digest, preprocess.decode(file))
    except UnreadableImage as error:
        return Read(digest, None, str(error))
