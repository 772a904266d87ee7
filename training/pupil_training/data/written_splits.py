"""Splits on disk (docs/files.md): which images, by name and digest, a run put into which split."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from pupil_training.data.overlap import Marked
from pupil_training.errors import DataError
from pupil_training.files import write_json


class WrittenSplit(BaseModel):
    """The images of one split, in order."""

    model_config = ConfigDict(frozen=True)

    images: tuple[str, ...]  # names: paths below data.root where they lie there
    sha256: tuple[str, ...]  # of each image's own bytes

    @classmethod
    def of(cls, images: Marked) -> Self:
        return cls(images=tuple(images.names), sha256=tuple(images.marks[0]))


class WrittenSplits(BaseModel):
    """The content of a splits.json."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    split_seed: int
    settings: dict[str, Any]  # the recipe's `data`, which made the splits
    classes: tuple[str, ...]
    splits: dict[str, WrittenSplit]
    pseudo_labelled: WrittenSplit | None = None  # what `labels.file` brought; absent in older files too
    dropped: dict[str, tuple[str, ...]] = {}  # left out of a split because another one has the same image
    skipped: dict[str, tuple[str, ...]] = {}  # unreadable, with the reason


def read_splits(file: Path) -> WrittenSplits:
    """The splits that a run wrote. Raises DataError: no such file, or not a splits.json."""
    if not file.is_file():
        raise DataError(f"{file}: no such file of splits; every run's folder has one, splits.json")
    try:
        written = WrittenSplits.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{file}: not a splits.json of format 1 ({where or 'JSON'}: {first['msg']})") from None
    pseudo = {"pseudo_labelled": written.pseudo_labelled} if written.pseudo_labelled else {}
    for split, part in (written.splits | pseudo).items():
        if len(part.images) != len(part.sha256):
            raise DataError(f"{file}: {split} has {len(part.images)} images, but {len(part.sha256)} digests")
    return written


def write_splits(file: Path, splits: WrittenSplits) -> None:
    """Whole or not at all."""
    write_json(file, splits.model_dump(mode="json"))


def places_of(written: WrittenSplit, names: Sequence[str], digests: Sequence[str], what: str) -> NDArray[np.int64]:
    """Where the images of a written split are among those at hand, told by their bytes; names only settle ties.

    Raises DataError where some are missing.
    """
    at: dict[str, list[int]] = {}
    for place, digest in enumerate(digests):
        at.setdefault(digest, []).append(place)
    found, missing = [], []
    for name, digest in zip(written.images, written.sha256, strict=True):
        alike = at.get(digest)
        if not alike:
            missing.append(name)
            continue
        best = next((place for place in alike if names[place] == name), alike[0])
        alike.remove(best)
        found.append(best)
    if missing:
        some = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        raise DataError(f"{what}: {len(missing)} of its {len(written.images)} images are missing or changed: {some}")
    return np.array(found, dtype=np.int64)
