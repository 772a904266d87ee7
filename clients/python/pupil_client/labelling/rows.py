"""The rows of a labels file, as docs/files.md describes them, and the reading of one in any of its formats."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pupil_client.labelling.parquet import needs_pyarrow

Row = dict[str, Any]  # one image; its keys are COLUMNS, and COMPARISON where both models were asked
Table = dict[str, list[Any]]  # many rows, by column; scores may be arrays of float32, too

COLUMNS = (
    *("image", "sha256", "label", "confidence", "accepted", "scores", "classes"),
    *("served_by", "model", "version", "fingerprint", "precision", "certificate", "error"),
)
COMPARISON = ("agree", "kl")
LONGEST_CELL = 1 << 28  # characters: the scores of ten million classes; as it is, csv takes those of six thousand
JSON_IN_CSV = ("accepted", "scores", "classes", "certificate", "agree", "kl", "confidence", "version")


def read_rows(file: Path) -> Iterator[Row]:
    """Every row, with the same values from each format. Raises ValueError for what is no labels file, OSError."""
    readers = {".jsonl": _json_lines, ".csv": _csv, ".parquet": _parquet}
    if file.suffix not in readers:
        raise ValueError(f"{file}: a labels file ends in {', '.join(readers)}")
    try:
        yield from readers[file.suffix](file)
    except (json.JSONDecodeError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file}: not a labels file ({error})") from None


def _json_lines(file: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            row = json.loads(line)
            yield _checked(row, f"{file}, line {number}")


def _csv(file: Path) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_CELL)
    with file.open(encoding="utf-8-sig", newline="") as lines:  # with the mark that spreadsheets put first, or without
        for number, cells in enumerate(csv.DictReader(lines), start=1):
            row = {name: json.loads(text) if text and name in JSON_IN_CSV else text or None
                   for name, text in cells.items()}  # fmt: skip
            yield _checked(row, f"{file}, row {number}")


def _parquet(file: Path) -> Iterator[Row]:
    with needs_pyarrow(file):
        from pyarrow import parquet

        with parquet.ParquetFile(file) as table:
            known = [name for name in (*COLUMNS, *COMPARISON) if name in table.schema_arrow.names]
            for batch in table.iter_batches(batch_size=1024, columns=known or None):
                for row in batch.to_pylist():
                    yield _checked(row, str(file))


def _checked(row: Any, where: str) -> Row:
    missing = [name for name in ("image", "label", "accepted") if not isinstance(row, dict) or name not in row]
    if missing:
        raise ValueError(f"{where}: has no {', '.join(missing)}; is this a labels file?")
    assert isinstance(row, dict)  # or else something would be missing
    return row
