"""A person's labels for a sample of a pool, read from a table: which image, and what is on it."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pupil_client.labelling.parquet import needs_pyarrow
from pupil_client.labelling.pictures import Picture
from pupil_client.labelling.sources import file_picture
from pupil_client.labelling.tables import PATHS, beside, table_source

SPLIT = "calibration"  # the rows that count where the table has splits
MODELS_OWN = ("accepted", "certificate")  # columns of a labels file


class Labelled(NamedTuple):
    """An image with the label that a person gave it."""

    picture: Picture
    label: str
    sha256: str | None = None  # of the image as it lies in the pool, where the table tells it


def read_sample(file: Path) -> list[Labelled]:
    """Every labelled row of a .csv, .jsonl or .parquet table. Raises ValueError for what is none, OSError.

    Columns: `label`, `path` or `image` (in Parquet also the images' bytes), and perhaps `split` and `sha256`.
    """
    readers = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}
    if file.suffix not in readers:
        raise ValueError(f"{file}: labels lie in a table that ends in {', '.join(readers)}")
    try:
        found = [each for row, picture in readers[file.suffix](file) if (each := _labelled(file, row, picture))]
    except (json.JSONDecodeError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file}: not a table of labels ({error})") from None
    if not found:
        raise ValueError(f"{file}: no labelled row (where there is a column split, the rows of {SPLIT} count)")
    return found


def _labelled(file: Path, row: Any, picture: Picture | None) -> Labelled | None:
    if not isinstance(row, dict) or "label" not in row:
        found = ", ".join(map(str, row)) if isinstance(row, dict) else "none"
        raise ValueError(f"{file}: a row has no label, its columns are {found}; wanted are path (or image) and label")
    if any(name in row for name in MODELS_OWN):
        raise ValueError(f"{file}: a labels file, whose labels are a model's own; a person has to label a sample")
    label = row["label"]
    if label in (None, "") or row.get("split") not in (None, "", SPLIT):
        return None
    return Labelled(picture or _at(file, row), str(label), row.get("sha256") or None)


def _at(file: Path, row: dict[str, Any]) -> Picture:
    path = next((row[name] for name in PATHS if row.get(name)), None)
    if not isinstance(path, str):
        raise ValueError(f"{file}: a row names no image; the columns are path (or image) and label")
    return file_picture(beside(file, path))


Rows = Iterator[tuple[Any, Picture | None]]  # the picture, where the row brings it


def _csv(file: Path) -> Rows:
    with file.open(encoding="utf-8-sig", newline="") as lines:  # with the mark that spreadsheets put first, or without
        for row in csv.DictReader(lines):
            yield row, None


def _json_lines(file: Path) -> Rows:
    with file.open(encoding="utf-8-sig") as lines:
        for line in lines:
            yield json.loads(line), None


def _parquet(file: Path) -> Rows:
    pictures = table_source(file).pictures()
    with needs_pyarrow(file):
        from pyarrow import parquet

        with parquet.ParquetFile(file) as table:
            columns = [name for name in ("label", "split", "sha256", *MODELS_OWN) if name in table.schema_arrow.names]
            for batch in table.iter_batches(columns=columns):
                yield from zip(batch.to_pylist(), pictures, strict=False)
