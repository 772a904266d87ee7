"""The labels file: one row an image, JSON Lines or CSV, written whole or not at all."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TextIO

STDOUT = Path("-")


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One image's label, or why there is none; the columns of docs/files.md, in their order."""

    image: str
    sha256: str | None
    label: str | None
    confidence: float | None
    accepted: bool
    scores: Sequence[float] | None
    classes: Sequence[str] | None  # in the first row only
    served_by: str
    model: str
    version: int
    fingerprint: str
    certificate: dict[str, Any] | None
    error: str | None


COLUMNS = tuple(field.name for field in fields(LabelRow))
Write = Callable[[LabelRow], None]


@contextmanager
def labels_file(output: Path, classes: Sequence[str]) -> Iterator[Write]:
    """A function that writes a row. `-` is JSON Lines on standard output.

    On leaving, the file is in its place; on an error, what was there before still is.
    Raises `ValueError` for a suffix that is neither .jsonl nor .csv, `OSError` where writing fails.
    """
    if output == STDOUT:
        yield _with_classes(_json_lines(sys.stdout), classes)
        return
    writer = writer_for(output)
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            yield _with_classes(writer(file), classes)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


def writer_for(output: Path) -> Callable[[TextIO], Write]:
    """The format that a file's suffix names."""
    if output.suffix not in WRITERS:
        raise ValueError(f"{output}: a labels file ends in {' or '.join(WRITERS)}; - is standard output")
    return WRITERS[output.suffix]


def _json_lines(file: TextIO) -> Write:
    def write(row: LabelRow) -> None:
        file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")

    return write


def _csv(file: TextIO) -> Write:
    table = csv.writer(file)
    table.writerow(COLUMNS)

    def write(row: LabelRow) -> None:
        table.writerow([_cell(value) for value in asdict(row).values()])

    return write


def _cell(value: object) -> object:
    structured = isinstance(value, bool | list | tuple | dict)
    return json.dumps(value, ensure_ascii=False) if structured else value


def _with_classes(write: Write, classes: Sequence[str]) -> Write:
    first = True

    def write_row(row: LabelRow) -> None:
        nonlocal first
        write(replace(row, classes=tuple(classes)) if first else row)
        first = False

    return write_row


WRITERS = {".jsonl": _json_lines, ".csv": _csv}
