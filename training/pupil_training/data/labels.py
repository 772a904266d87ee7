"""Pseudo-labels: the accepted rows of a labels file (docs/files.md), as images and targets."""

import csv
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pupil_training.data.folders import Read, read_image
from pupil_training.errors import DataError
from pupil_training.preprocess import Preprocess
from pupil_training.settings import DataSettings, LabelsSettings

Row = dict[str, Any]


@dataclass(frozen=True)
class PseudoLabels:
    """The accepted images of a labels file."""

    images: Tensor  # uint8 (N, H, W, C)
    targets: Tensor  # hard: int64 (N,); soft: float32 (N, K)


def load_pseudo_labels(labels: LabelsSettings, data: DataSettings, classes: tuple[str, ...]) -> PseudoLabels:
    """Images and targets of the accepted rows of `labels.file`.

    Raises DataError: no such file, other classes, nothing accepted, an image that is gone or changed.
    """
    file = Path(str(labels.file))
    rows = list(read_rows(file))
    _check_classes(file, rows, classes)
    accepted = [row for row in rows if row.get("accepted") and not row.get("error")]
    if not accepted:
        raise DataError(f"{file}: none of its {len(rows)} rows is accepted, there is nothing to learn from")
    preprocess = Preprocess.of(data)
    with ThreadPoolExecutor() as threads:
        read = list(threads.map(lambda row: _image(file, row, preprocess), accepted))
    target = _soft if labels.kind == "soft" else _hard
    targets = [target(file, row, classes) for row in accepted]
    images = np.stack([one.pixels for one in read if one.pixels is not None])
    return PseudoLabels(torch.from_numpy(images), torch.tensor(targets))


def read_rows(file: Path) -> Iterator[Row]:
    """The rows of a JSON Lines or CSV labels file, with the same Python values from both."""
    if not file.is_file():
        raise DataError(f"{file}: no such labels file")
    with file.open(newline="", encoding="utf-8") as lines:
        try:
            if file.suffix.lower() == ".csv":
                yield from (_from_csv(row) for row in csv.DictReader(lines))
            else:
                yield from (json.loads(line) for line in lines if line.strip())
        except (ValueError, csv.Error) as error:
            raise DataError(f"{file}: not a labels file ({error})") from None


def _from_csv(row: dict[str, str]) -> Row:
    values: Row = {name: text for name, text in row.items() if text}
    for name in ("classes", "scores", "certificate"):
        if name in values:
            values[name] = json.loads(values[name])
    return {**values, "accepted": row.get("accepted", "").lower() == "true"}


def _check_classes(file: Path, rows: list[Row], classes: tuple[str, ...]) -> None:
    theirs = rows[0].get("classes") if rows else None
    if theirs is None:
        raise DataError(f"{file}: its first row names no classes")
    if tuple(theirs) != classes:
        raise DataError(
            f"{file}: its classes are {theirs}, those of the data are {list(classes)}; label with this model"
        )


def _image(file: Path, row: Row, preprocess: Preprocess) -> Read:
    name = Path(str(row.get("image")))
    path = next((path for path in (file.parent / name, name) if path.is_file()), None)
    if path is None:
        raise DataError(f"{file}: its image {name} is neither beside the file nor in the working folder")
    read = read_image(path, preprocess)
    if read.problem:
        raise DataError(f"{path}: {read.problem}")
    if read.sha256 != row.get("sha256"):
        raise DataError(f"{path}: changed since it was labelled (its SHA-256 is not that of {file})")
    return read


def _hard(file: Path, row: Row, classes: tuple[str, ...]) -> int:
    if row.get("label") not in classes:
        raise DataError(f"{file}: {row.get('image')} is labelled {row.get('label')!r}, which is not one of its classes")
    return classes.index(row["label"])


def _soft(file: Path, row: Row, classes: tuple[str, ...]) -> list[float]:
    scores = row.get("scores")
    if not isinstance(scores, list) or len(scores) != len(classes) or abs(sum(scores) - 1) > 0.01:
        raise DataError(
            f"{file}: {row.get('image')} has no scores over the {len(classes)} classes; label with --scores"
        )
    return [float(score) for score in scores]
