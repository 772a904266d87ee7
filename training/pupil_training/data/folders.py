"""Class folders: `<root>/<split>/<class>/*.png`, and a flat `<root>/pool/`."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from pupil_training.data.cut import cut
from pupil_training.data.images import ImageSet, set_sha256
from pupil_training.errors import DataError
from pupil_training.preprocess import Preprocess, UnreadableImage
from pupil_training.recipe import DataSettings

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


class Found(NamedTuple):
    """An image on disk and its place in the classes; None in the pool."""

    path: Path
    label: int | None


@dataclass(frozen=True)
class Read:
    """One file's digest, and its pixels (H, W, C) or why there are none."""

    sha256: str
    pixels: NDArray[np.uint8] | None
    problem: str = ""


def load(data: DataSettings, split: str) -> ImageSet:
    """A split of class folders; validation, calibration and pool are cut out of train if they have no folder."""
    classes = _classes(data.root / "train")
    return _read(_found(data, split, classes), classes, data, data.root / split)


def _found(data: DataSettings, split: str, classes: tuple[str, ...]) -> list[Found]:
    folder = data.root / split
    own = folder.is_dir()
    if split == "pool" and own:
        return [Found(path, None) for path in images_below(folder)]
    if split == "test" or (split != "train" and own):
        return _labelled(folder, classes)
    found = _labelled(data.root / "train", classes)
    shares = {"validation": data.validation, "calibration": data.calibration, "pool": data.pool}
    shares = {name: share for name, share in shares.items() if share > 0 and not (data.root / name).is_dir()}
    if split != "train" and split not in shares:
        raise DataError(f"{folder}: no such folder, and data.{split} = 0 cuts none out of train")
    labels = [image.label for image in found if image.label is not None]
    chosen = [found[i] for i in cut(labels, shares, data.split_seed)[split]]
    return [Found(image.path, None) for image in chosen] if split == "pool" else chosen


def _classes(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; data.root must hold train/<class>/*.png")
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if len(classes) < 2:
        raise DataError(f"{folder}: {len(classes)} class folders, at least two are needed")
    return classes


def _labelled(folder: Path, classes: tuple[str, ...]) -> list[Found]:
    here = _classes(folder)
    if here != classes:
        differ = sorted(set(here) ^ set(classes))
        raise DataError(f"{folder}: its classes are not those of train; only one of them has {', '.join(differ)}")
    return [Found(path, label) for label, name in enumerate(classes) for path in images_below(folder / name)]


def images_below(folder: Path) -> list[Path]:
    """Every image file here or below, in the order of its path. Raises DataError where there is none."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise DataError(f"{folder}: no images ({', '.join(SUFFIXES)}) here or below")
    return paths


def _read(found: Sequence[Found], classes: tuple[str, ...], data: DataSettings, folder: Path) -> ImageSet:
    preprocess = Preprocess.of(data)
    with ThreadPoolExecutor() as threads:
        reads = threads.map(lambda image: read_image(image.path, preprocess), found)
        read = list(tqdm(reads, f"reading {folder}", total=len(found), unit="image", leave=False, disable=None))
    skipped = tuple(f"{image.path}: {one.problem}" for image, one in zip(found, read, strict=True) if one.problem)
    if skipped and data.unreadable == "refuse":
        raise DataError(f"{skipped[0]}; {len(skipped)} of {len(found)} images are unreadable (data.unreadable=skip)")
    kept = [(image, one, one.pixels) for image, one in zip(found, read, strict=True) if one.pixels is not None]
    if not kept:
        raise DataError(f"{folder}: none of its {len(found)} images is readable")
    labels = [image.label for image, _, _ in kept if image.label is not None]
    names = [classes[image.label] if image.label is not None else "" for image, _, _ in kept]
    paths = [image.path for image, _, _ in kept]
    return ImageSet(
        images=torch.from_numpy(np.stack([pixels for _, _, pixels in kept])),
        labels=torch.tensor(labels) if labels else None,
        classes=classes,
        sha256=set_sha256((one.sha256, name) for (_, one, _), name in zip(kept, names, strict=True)),
        encoded=lambda i: paths[i].read_bytes(),
        skipped=skipped,
    )


def read_image(path: Path, preprocess: Preprocess) -> Read:
    """One file, decoded."""
    file = path.read_bytes()
    digest = hashlib.sha256(file).hexdigest()
    try:
        return Read(digest, preprocess.decode(file))
    except UnreadableImage as error:
        return Read(digest, None, str(error))
