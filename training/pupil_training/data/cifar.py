"""CIFAR-10 and CIFAR-100 as their authors publish them: Python pickles or plain bytes, 32×32 in colour.

Of CIFAR-100's two labels the fine one is read.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pupil_training.data.pickles import read_pickle
from pupil_training.data.pictures import PixelPicture
from pupil_training.data.source import Listing, checked_labels
from pupil_training.errors import DataError
from pupil_training.settings import DataSettings

SIDE = 32
BYTES = 3 * SIDE * SIDE


class Part(NamedTuple):
    """The content of one file."""

    images: NDArray[np.uint8]  # (N, 3072), all of red, then of green, then of blue
    labels: NDArray[np.int64]  # (N,)


class Form(NamedTuple):
    """One of the four forms: its folder, its files, and how they are read."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str
    read: Callable[[Path], Part]
    read_names: Callable[[Path], tuple[str, ...]]


class Cifar:
    """The official files in `<root>/cifar-…` or in `<root>` itself. Nothing is downloaded."""

    def __init__(self, data: DataSettings) -> None:
        self._folder, self._form = _find(data.root)
        self.classes = self._form.read_names(_existing(self._folder / self._form.names))

    def own(self, split: str) -> Listing | None:
        """Train and test."""
        names = {"train": self._form.train, "test": self._form.test}.get(split)
        if names is None:
            return None
        parts = [self._form.read(_existing(self._folder / name)) for name in names]
        images = np.concatenate([part.images for part in parts]).reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
        labels = np.concatenate([part.labels for part in parts])
        pictures = [PixelPicture(f"{split}/{i}", image) for i, image in enumerate(np.ascontiguousarray(images))]
        return Listing(pictures, checked_labels(labels, self.classes, f"{self._folder}, {split}"))


def _find(root: Path) -> tuple[Path, Form]:
    places = [(root / form.folder, form) for form in FORMS] + [(root, form) for form in FORMS]
    found = [(folder, form) for folder, form in places if (folder / form.names).is_file()]
    if not found:
        raise DataError(f"{root}: none of {', '.join(form.folder for form in FORMS)} is here; set data.root")
    if len(found) > 1:
        raise DataError(f"{root}: holds {' and '.join(form.folder for _, form in found)}; set data.root to one of them")
    return found[0]


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise DataError(f"{file}: missing, the data set is incomplete")
    return file


def _pickled(file: Path, key: str) -> Part:
    batch = _dictionary(file)
    images, labels = batch.get("data"), batch.get(key)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (BYTES,):
        raise DataError(f"{file}: its data are not rows of {BYTES:,} bytes")
    if not isinstance(labels, list) or len(labels) != len(images) or not all(isinstance(one, int) for one in labels):
        raise DataError(f"{file}: its {key} are not {len(images)} whole numbers, one an image")
    return Part(images, np.array(labels, dtype=np.int64))


def _pickled_names(file: Path, key: str) -> tuple[str, ...]:
    names = _dictionary(file).get(key)
    if not isinstance(names, list):
        raise DataError(f"{file}: holds no {key}")
    return tuple(_text(name) for name in names)


def _dictionary(file: Path) -> dict[str, Any]:
    content = read_pickle(file)
    if not isinstance(content, dict):
        raise DataError(f"{file}: a {type(content).__name__}, not the dictionary of a CIFAR file")
    return {_text(key): value for key, value in content.items()}


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _plain(file: Path, labels: int) -> Part:
    """Rows of `labels` bytes, of which the last is the label, and an image."""
    content = np.fromfile(file, dtype=np.uint8)
    row = labels + BYTES
    if len(content) == 0 or len(content) % row:
        raise DataError(f"{file}: truncated, {len(content)} bytes are not rows of {row:,}")
    rows = content.reshape(-1, row)
    return Part(rows[:, labels:], rows[:, labels - 1].astype(np.int64))


def _plain_names(file: Path) -> tuple[str, ...]:
    return tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())


_FIVE = tuple(f"data_batch_{i}" for i in range(1, 6))
FORMS = (
    Form(
        "cifar-10-batches-py", _FIVE, ("test_batch",), "batches.meta",
        partial(_pickled, key="labels"), partial(_pickled_names, key="label_names"),
    ),
    Form(
        "cifar-100-python", ("train",), ("test",), "meta",
        partial(_pickled, key="fine_labels"), partial(_pickled_names, key="fine_label_names"),
    ),
    Form(
        "cifar-10-batches-bin", tuple(f"{name}.bin" for name in _FIVE), ("test_batch.bin",), "batches.meta.txt",
        partial(_plain, labels=1), _plain_names,
    ),
    Form(
        "cifar-100-binary", ("train.bin",), ("test.bin",), "fine_label_names.txt",
        partial(_plain, labels=2), _plain_names,
    ),
)  # fmt: skip
