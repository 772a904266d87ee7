"""A table of images: CSV or Parquet with the columns path, label, and if need be split and group."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pupil_training.data.folders import group_keys
from pupil_training.data.pictures import FilePicture
from pupil_training.data.source import SPLITS, UNLABELLED, Listing
from pupil_training.errors import DataError
from pupil_training.settings import DataSettings

COLUMNS = ("path", "label", "split", "group")
LONGEST_CELL = 1 << 28  # characters: the scores of ten million classes; as it is, csv takes those of six thousand


@dataclass(frozen=True, slots=True)
class Row:
    """One image. An empty cell is an empty text."""

    number: int  # from 1, without the header
    path: str
    label: str
    split: str
    group: str


class Table:
    """Paths are relative to `data.root`, or else to the table's folder. Rows without a label are the pool."""

    def __init__(self, data: DataSettings) -> None:
        assert data.table is not None  # the settings see to it
        self._data, self._file = data, data.table
        self._rows: dict[str, list[Row]] = {}
        for row in read_table(self._file):
            self._rows.setdefault(self._split_of(row), []).append(row)
        self.classes = tuple(sorted({row.label for row in self._rows.get("train", [])}))
        if len(self.classes) < 2:
            raise DataError(f"{self._file}: its train rows have {len(self.classes)} classes, at least two are needed")

    def own(self, split: str) -> Listing | None:
        """The rows of the split; None where there is none."""
        rows = self._rows.get(split)
        if rows is None:
            return None
        labels = np.array([UNLABELLED if split == "pool" else self._label(row) for row in rows], dtype=np.int64)
        return Listing([FilePicture(self._path(row)) for row in rows], labels, self._groups(rows))

    def _split_of(self, row: Row) -> str:
        if row.split and row.split not in SPLITS:
            raise DataError(f"{self._where(row)}: '{row.split}' is not a split; the splits are {', '.join(SPLITS)}")
        if not row.label and row.split not in ("", "pool"):
            raise DataError(f"{self._where(row)}: is in {row.split}, but has no label")
        return row.split or ("train" if row.label else "pool")

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.classes)}

    def _label(self, row: Row) -> int:
        if row.label not in self._places:
            raise DataError(f"{self._where(row)}: no train row is labelled '{row.label}', which {row.split} has")
        return self._places[row.label]

    def _path(self, row: Row) -> str:
        for folder in (self._data.root, self._file.parent):
            if row.path and (folder / row.path).is_file():
                return str(folder / row.path)
        raise DataError(f"{self._where(row)}: no file '{row.path}' in {self._data.root} or beside the table")

    def _groups(self, rows: list[Row]) -> list[str] | None:
        if self._data.groups:
            return group_keys([row.path for row in rows], self._data.groups)
        if not any(row.group for row in rows):
            return None
        return [row.group or f"row {row.number}" for row in rows]

    def _where(self, row: Row) -> str:
        return f"{self._file}, row {row.number}"


def read_table(file: Path) -> Iterator[Row]:
    """The rows. Raises DataError: no such file, not a table, no column `path`."""
    if not file.is_file():
        raise DataError(f"{file}: no such table")
    rows = _parquet(file) if file.suffix.lower() == ".parquet" else csv_rows(file, "path")
    for number, cells in enumerate(rows, start=1):
        texts = {name: "" if (cell := cells.get(name)) is None else str(cell).strip() for name in COLUMNS}
        yield Row(number, **texts)


def csv_rows(file: Path, *needed: str) -> Iterator[dict[str, Any]]:
    """The rows of a CSV file that has the needed columns. Raises DataError."""
    with file.open(newline="", encoding="utf-8-sig") as lines:  # with the mark that spreadsheets put first, or without
        try:
            csv.field_size_limit(LONGEST_CELL)
            table = csv.DictReader(lines)
            _check_columns(file, table.fieldnames or (), needed)
            yield from table
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{file}: not a CSV table in UTF-8 ({error})") from None


def parquet_rows(file: Path, choose: Callable[[list[str]], list[str]]) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, with the columns that `choose` takes of those that are there. Raises DataError."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{file}: reading Parquet needs pyarrow: pip install 'pupil[parquet]'") from None
    try:
        with parquet.ParquetFile(file) as table:
            for batch in table.iter_batches(columns=choose(table.schema_arrow.names)):
                yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise DataError(f"{file}: not a Parquet table ({str(error).splitlines()[0]})") from None


def _parquet(file: Path) -> Iterator[dict[str, Any]]:
    def choose(names: list[str]) -> list[str]:
        _check_columns(file, names, ["path"])
        return [name for name in COLUMNS if name in names]

    return parquet_rows(file, choose)


def _check_columns(file: Path, names: Sequence[str], needed: Sequence[str]) -> None:
    if missing := [name for name in needed if name not in names]:
        raise DataError(f"{file}: has no column '{missing[0]}'; its columns are {', '.join(names) or 'none'}")
