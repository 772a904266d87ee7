"""Images in Parquet: their bytes in a column, as data sets on the Hugging Face hub have them, or their paths."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pupil_client.images import RawImage
from pupil_client.labelling.parquet import needs_pyarrow
from pupil_client.labelling.pictures import Picture, Source, digest_of_file

ROWS = 64  # read at a time
NAMES = ("image", "bytes", "jpg", "jpeg", "png", "webp", "img")  # of a column of bytes, the likeliest first
PATHS = ("path", "image", "file_name", "file", "image_path")  # of a column of paths or names


class Columns(NamedTuple):
    """Where the bytes and the names are; `inside` says that one column holds both, as `{bytes, path}`."""

    bytes: str | None
    path: str | None
    inside: bool = False

    def wanted(self) -> list[str]:
        """The columns to read."""
        return [name for name in (self.bytes, self.path) if name]


def table_source(file: Path) -> Source:
    """A row an image, in order. Raises ValueError for what is no such table, OSError."""
    with needs_pyarrow(file):
        from pyarrow import parquet

        with parquet.ParquetFile(file) as table:
            columns, rows = _columns(file, table.schema_arrow), table.metadata.num_rows
    return Source(digest_of_file(file), rows, lambda: _pictures(file, columns))


def _pictures(file: Path, columns: Columns) -> Iterator[Picture]:
    from pyarrow import parquet

    number = 0
    with needs_pyarrow(file), parquet.ParquetFile(file) as table:
        for batch in table.iter_batches(batch_size=ROWS, columns=columns.wanted()):
            for row in batch.to_pylist():
                yield _picture(file, number, row, columns)
                number += 1


def _picture(file: Path, number: int, row: dict[str, Any], columns: Columns) -> Picture:
    if columns.inside:
        cell = row[str(columns.bytes)] or {}
        data, path = cell.get("bytes"), cell.get("path")
    else:
        data, path = (row[name] if name else None for name in (columns.bytes, columns.path))
    if data is not None:
        return Picture(f"{file}#{number}/{path}" if path else f"{file}#{number}", len(data), RawImage(data))
    if not path or columns.bytes:
        return Picture(f"{file}#{number}", 0, "the cell is empty")
    found = beside(file, path)
    return Picture(str(found), found.stat().st_size if found.is_file() else 0, found)


def beside(file: Path, path: str) -> Path:
    """A path as seen from the table's folder, or else from the working folder."""
    return file.parent / path if (file.parent / path).is_file() else Path(path)


def _columns(file: Path, schema: Any) -> Columns:
    from pyarrow import types

    structs = [
        field.name for field in schema if types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
    ]
    binary = [field.name for field in schema if types.is_binary(field.type) or types.is_large_binary(field.type)]
    texts = [field.name for field in schema if types.is_string(field.type) or types.is_large_string(field.type)]
    path = next((name for name in PATHS if name in texts), None)
    if structs:
        return Columns(_first(NAMES, structs), None, inside=True)
    if binary:
        return Columns(_first(NAMES, binary), path)
    if path:
        return Columns(None, path)
    raise ValueError(f"{file}: no column of images or paths; its columns are {', '.join(schema.names) or 'none'}")


def _first(likeliest: tuple[str, ...], found: list[str]) -> str:
    return next((name for name in likeliest if name in found), found[0])
