"""Labels files in each of their formats. Nothing in a row depends on when it was written."""

import csv
import io
import json
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, BinaryIO

from pupil_client.labelling.parquet import needs_pyarrow
from pupil_client.labelling.rows import COLUMNS, COMPARISON, Table
from pupil_client.labelling.whole import whole_file

STDOUT = Path("-")
GROUP_ROWS = 8192  # of a Parquet file, before a row group is written
spelled = json.JSONEncoder(ensure_ascii=False, default=list).encode  # json.dumps would make one at each call
Write = Callable[[Table], None]
Writer = Callable[[BinaryIO, Sequence[str]], AbstractContextManager[Write]]


def check_output(output: Path) -> None:
    """Raises ValueError where the suffix names no format, or one without its library, or the folder is not there."""
    if output == STDOUT:
        return
    if output.suffix not in WRITERS:
        raise ValueError(f"{output}: a labels file ends in {', '.join(WRITERS)}; - is standard output")
    if not output.parent.is_dir():
        raise ValueError(f"{output}: there is no folder {output.parent}")
    if output.suffix == ".parquet":
        with needs_pyarrow(output):
            pass


@contextmanager
def labels_file(output: Path, columns: Sequence[str] = COLUMNS, *, aside: Path | None = None) -> Iterator[Write]:
    """A function that writes rows, with empty cells in columns that they lack; `-` is JSON Lines on standard output.

    On leaving, the file is in its place.
    """
    check_output(output)
    if output == STDOUT:
        with _json_lines(sys.stdout.buffer, columns) as write:
            yield write
        sys.stdout.flush()
        return
    with whole_file(output, aside) as file, WRITERS[output.suffix](file, columns) as write:
        yield write


@contextmanager
def _json_lines(file: BinaryIO, columns: Sequence[str]) -> Iterator[Write]:
    def write(table: Table) -> None:
        for cells in _rows(table, columns):
            file.write(spelled(dict(zip(columns, cells, strict=True))).encode() + b"\n")

    yield write


@contextmanager
def _csv(file: BinaryIO, columns: Sequence[str]) -> Iterator[Write]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    rows = csv.writer(text)
    rows.writerow(columns)

    def write(table: Table) -> None:
        rows.writerows(map(_cell, cells) for cells in _rows(table, columns))

    try:
        yield write
        text.flush()
    finally:
        text.detach()  # or else it would close the file


def _rows(table: Table, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    nothing = [None] * len(table["image"])
    return zip(*(table.get(name, nothing) for name in columns), strict=True)


def _cell(value: object) -> object:
    structured = isinstance(value, bool | list | tuple | dict | array)
    return spelled(value) if structured else value


@contextmanager
def _parquet(file: BinaryIO, columns: Sequence[str]) -> Iterator[Write]:
    import pyarrow
    from pyarrow import parquet

    types = _arrow_types()
    schema = pyarrow.schema([(name, types[name]) for name in columns])
    waiting: list[Any] = []  # batches, until they are worth a row group

    def flush() -> None:
        parts.write_table(pyarrow.Table.from_batches(waiting, schema))
        waiting.clear()

    def write(table: Table) -> None:
        nothing = [None] * len(table["image"])
        arrays = [_array(table.get(name, nothing), types[name]) for name in columns]
        waiting.append(pyarrow.RecordBatch.from_arrays(arrays, schema=schema))
        if sum(batch.num_rows for batch in waiting) >= GROUP_ROWS:
            flush()

    with parquet.ParquetWriter(file, schema, compression="zstd") as parts:
        yield write
        flush()


def _array(cells: Sequence[Any], kind: Any) -> Any:
    """An Arrow array; of a cell that is the same object in many rows, as a certificate is, it converts one."""
    import pyarrow

    if kind == pyarrow.list_(pyarrow.float32()):
        return _float_lists(cells)
    if not pyarrow.types.is_struct(kind):
        return pyarrow.array(cells, kind)
    each = {id(cell): cell for cell in cells}
    places = {name: place for place, name in enumerate(each)}
    return pyarrow.array(list(each.values()), kind).take(pyarrow.array([places[id(cell)] for cell in cells]))


def _float_lists(cells: Sequence[Any]) -> Any:
    """The same bytes again, where they are an array of float32: of a thousand classes each number would cost."""
    import pyarrow

    ends = accumulate(len(cell or ()) for cell in cells)
    offsets = [None if cell is None else start for cell, start in zip(cells, chain([0], ends), strict=False)]
    data = b"".join(array("f", cell).tobytes() for cell in cells if cell)
    numbers = pyarrow.Array.from_buffers(pyarrow.float32(), len(data) // 4, [None, pyarrow.py_buffer(data)])
    return pyarrow.ListArray.from_arrays(pyarrow.array([*offsets, len(data) // 4], pyarrow.int32()), numbers)


def _arrow_types() -> dict[str, Any]:
    import pyarrow as pa

    certificate = pa.struct(
        [("guarantee", pa.string())]
        + [(name, pa.float64()) for name in ("precision", "delta", "threshold")]
        + [(name, pa.int64()) for name in ("calibration", "accepted", "wrong")]
        + [("p_value", pa.float64()), ("coverage", pa.float64()), ("fingerprint", pa.string())]
        + [("signature", pa.string()), ("shift_p_value", pa.float64()), ("shift_allowed", pa.bool_())]
    )
    others = {
        "confidence": pa.float64(), "accepted": pa.bool_(), "scores": pa.list_(pa.float32()),
        "classes": pa.list_(pa.string()), "version": pa.int64(), "certificate": certificate,
        "agree": pa.bool_(), "kl": pa.float64(),
    }  # fmt: skip
    return {name: others.get(name, pa.string()) for name in (*COLUMNS, *COMPARISON)}


WRITERS: dict[str, Writer] = {".parquet": _parquet, ".jsonl": _json_lines, ".csv": _csv}
