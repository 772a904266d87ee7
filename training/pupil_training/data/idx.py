"""Data sets in the form of MNIST's idx files: grey pictures of one size, and a label each.

The form is described at the end of LeCun's MNIST page: a magic number, the sizes, then the bytes.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pupil_training.data.pictures import PixelPicture
from pupil_training.data.source import Listing, checked_labels, numbered
from pupil_training.errors import DataError
from pupil_training.settings import DataSettings

IMAGES, LABELS = 0x803, 0x801  # unsigned bytes (8) in three dimensions, in one
NAMES = {"train": ("train",), "test": ("t10k", "test")}  # how the files of a split begin


class Idx:
    """`train-images-idx3-ubyte` and its three companions in one folder, gzipped or not. Nothing is downloaded."""

    def __init__(self, folder: Path, classes: tuple[str, ...] | None = None) -> None:
        self._folder = folder
        if self._file("train", "images-idx3") is None:
            raise DataError(f"{folder}: no train-images-idx3-ubyte[.gz] here; set data.root to its folder")
        self.classes = classes or numbered(int(self._labels("train").max()) + 1)

    def own(self, split: str) -> Listing | None:
        """Train and test."""
        images = self._file(split, "images-idx3")
        if images is None:
            return None
        pixels, labels = read_idx(images, IMAGES), self._labels(split)
        if len(pixels) != len(labels):
            raise DataError(f"{self._folder}: {len(pixels)} {split} images, but {len(labels)} labels")
        pictures = [PixelPicture(f"{split}/{i}", image) for i, image in enumerate(pixels)]
        return Listing(pictures, checked_labels(labels, self.classes, f"{self._folder}, {split}"))

    def _labels(self, split: str) -> NDArray[np.uint8]:
        file = self._file(split, "labels-idx1")
        if file is None:
            raise DataError(f"{self._folder}: {split} images, but no labels-idx1-ubyte[.gz] beside them")
        return read_idx(file, LABELS)

    def _file(self, split: str, what: str) -> Path | None:
        names = [f"{begin}-{what}-ubyte{suffix}" for begin in NAMES.get(split, ()) for suffix in ("", ".gz")]
        return next((file for name in names if (file := self._folder / name).is_file()), None)


def open_idx(data: DataSettings) -> Idx:
    """`<root>/*-ubyte[.gz]`, with the names of the classes in an optional classes.txt, one a line."""
    names = data.root / "classes.txt"
    if not names.is_file():
        return Idx(data.root)
    classes = tuple(line.strip() for line in names.read_text(encoding="utf-8").splitlines() if line.strip())
    if len(set(classes)) < len(classes) or len(classes) < 2:
        raise DataError(f"{names}: at least two classes are needed, one a line, none of them twice")
    return Idx(data.root, classes)


def read_idx(file: Path, magic: int) -> NDArray[np.uint8]:
    """The bytes of an idx file in its sizes. Raises DataError: of another form, truncated, or too long."""
    content = _unpacked(file)
    dimensions = magic & 0xFF
    if len(content) < 4 + 4 * dimensions:
        raise DataError(f"{file}: truncated, {len(content)} bytes are not even a header")
    found, *sizes = struct.unpack_from(f">{1 + dimensions}I", content)
    if found != magic:
        raise DataError(f"{file}: begins with 0x{found:08x}, an idx file of this kind with 0x{magic:08x}")
    wanted, there = math.prod(sizes), len(content) - 4 - 4 * dimensions
    if there != wanted:
        how = "truncated" if there < wanted else "too long"
        raise DataError(f"{file}: {how}, {'×'.join(map(str, sizes))} bytes are announced, {there} are there")
    if wanted == 0:
        raise DataError(f"{file}: empty")
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(sizes)


def _unpacked(file: Path) -> bytes:
    content = file.read_bytes()
    if file.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{file}: truncated, or not gzipped ({error})") from None
