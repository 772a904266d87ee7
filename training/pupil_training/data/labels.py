"""Pseudo-labels: the accepted rows of a labels file (docs/files.md), as pictures and targets."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pupil_training.data.overlap import Marked
from pupil_training.data.pictures import FilePicture, Picture
from pupil_training.data.table import csv_rows, parquet_rows
from pupil_training.errors import DataError
from pupil_training.settings import LabelsSettings

Row = dict[str, Any]


@dataclass(frozen=True)
class PseudoLabels:
    """The accepted images of a labels file, not read yet."""

    pictures: list[Picture]
    digests: list[str]  # what the bytes of each must still be
    targets: Tensor  # hard: int64 (N,); soft: float32 (N, K)
    confidence: Tensor  # float32 (N,), 0 where a row says nothing
    repeats: Tensor  # int64 (N,), how often each comes in an epoch

    def __len__(self) -> int:
        return len(self.pictures)

    def take(self, places: Tensor) -> "PseudoLabels":
        """Those at these places, in this order."""
        pictures = [self.pictures[i] for i in places.tolist()]
        digests = [self.digests[i] for i in places.tolist()]
        kept = (each[places] for each in (self.targets, self.confidence, self.repeats))
        return PseudoLabels(pictures, digests, *kept)

    def repeated(self, repeats: Tensor) -> "PseudoLabels":
        """Those that come at least once when each comes as often as `repeats` (N,) says."""
        return replace(self, repeats=repeats).take(repeats.nonzero()[:, 0])

    @property
    def sha256(self) -> str:
        """Over the images' bytes, their targets, and how often each comes."""
        whole = hashlib.sha256(" ".join(self.digests).encode())
        whole.update(self.targets.numpy().tobytes())
        whole.update(self.repeats.numpy().tobytes())
        return whole.hexdigest()

    def marked(self) -> Marked:
        """What tells them."""
        return Marked([picture.name for picture in self.pictures], [self.digests])


def read_pseudo_labels(labels: LabelsSettings, classes: tuple[str, ...], pool: Mapping[str, Picture]) -> PseudoLabels:
    """The accepted rows of `labels.file`. An image is found in the `pool` by its SHA-256, or else by its path.

    Raises DataError: no such file, other classes, nothing accepted, an image that is gone.
    """
    file = Path(str(labels.file))
    rows = list(read_rows(file))
    _check_classes(file, rows, classes)
    accepted = [row for row in rows if row.get("accepted") and not row.get("error")]
    if not accepted:
        raise DataError(f"{file}: none of its {len(rows)} rows is accepted, there is nothing to learn from")
    target = _soft if labels.kind == "soft" else _hard
    places = {name: place for place, name in enumerate(classes)}
    return PseudoLabels(
        [pool.get(str(row.get("sha256"))) or _at_path(file, row) for row in accepted],
        [_digest(file, row) for row in accepted],
        torch.tensor([target(file, row, places) for row in accepted]),
        torch.tensor([_confidence(file, row) for row in accepted]),
        torch.ones(len(accepted), dtype=torch.int64),
    )


def read_rows(file: Path) -> Iterator[Row]:
    """The rows of a JSON Lines, CSV or Parquet labels file, with the same Python values from each."""
    if not file.is_file():
        raise DataError(f"{file}: no such labels file")
    if file.suffix.lower() == ".parquet":
        yield from parquet_rows(file, choose=list)
        return
    try:
        if file.suffix.lower() == ".csv":
            yield from map(_from_csv, csv_rows(file, "image"))
        else:
            with file.open(encoding="utf-8-sig") as lines:
                yield from (_from_json(line) for line in lines if line.strip())
    except ValueError as error:
        raise DataError(f"{file}: not a labels file ({error})") from None


def _from_json(line: str) -> Row:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError(f"a line holds {line.strip()[:20]}, no object")
    return row


def _from_csv(row: dict[str, str | None]) -> Row:
    values: Row = {name: text for name, text in row.items() if text}
    for name in ("classes", "scores", "certificate"):
        if name in values:
            values[name] = json.loads(values[name])
    return {**values, "accepted": (row.get("accepted") or "").lower() == "true"}


def _check_classes(file: Path, rows: list[Row], classes: tuple[str, ...]) -> None:
    theirs = rows[0].get("classes") if rows else None
    if theirs is None:
        raise DataError(f"{file}: its first row names no classes")
    if tuple(theirs) != classes:
        raise DataError(
            f"{file}: its classes are {theirs}, those of the data are {list(classes)}; label with this model"
        )


def _at_path(file: Path, row: Row) -> FilePicture:
    name = Path(str(row.get("image")))
    path = next((path for path in (file.parent / name, name) if path.is_file()), None)
    if path is None:
        raise DataError(
            f"{file}: its image {name} is neither beside the file nor in the working folder, nor in the pool"
        )
    return FilePicture(str(path))


def _digest(file: Path, row: Row) -> str:
    if not row.get("sha256"):
        raise DataError(f"{file}: {row.get('image')} has no sha256, so nobody knows whether it is what was labelled")
    return str(row["sha256"])


def _confidence(file: Path, row: Row) -> float:
    try:
        return float(row.get("confidence") or 0)
    except (TypeError, ValueError):
        found = row["confidence"]
        raise DataError(f"{file}: {row.get('image')} has the confidence {found!r}, which is no number") from None


def _hard(file: Path, row: Row, classes: Mapping[str, int]) -> int:
    label = row.get("label")
    if not isinstance(label, str) or label not in classes:
        raise DataError(f"{file}: {row.get('image')} is labelled {label!r}, which is not one of its classes")
    return classes[label]


def _soft(file: Path, row: Row, classes: Mapping[str, int]) -> list[float]:
    try:
        scores = np.asarray(row.get("scores"), dtype=np.float64)
    except (TypeError, ValueError):  # words, or rows of unequal length
        scores = np.zeros(0)
    if scores.shape != (len(classes),) or not (scores >= 0).all() or abs(scores.sum() - 1) > 0.01:
        raise DataError(
            f"{file}: {row.get('image')} has no scores over the {len(classes)} classes; label with --scores"
        )
    found: list[float] = scores.tolist()
    return found
