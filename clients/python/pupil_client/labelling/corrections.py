"""Labels that people corrected in Label Studio, as a table that training reads."""

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from pupil_client.labelling.parquet import needs_pyarrow
from pupil_client.labelling.whole import whole_file

COLUMNS = ("path", "label", "split", "sha256")  # of a table, see docs/files.md


@dataclass
class Imported:
    """How many labels came in, how many of them differ from the prediction, and how many tasks had none."""

    labels: int = 0
    corrected: int = 0
    without: int = 0

    def sentence(self) -> str:
        """`40 labels, 7 of them corrected, 2 tasks without one`."""
        return f"{self.labels:,} labels, {self.corrected:,} of them corrected, {self.without:,} tasks without one"


def import_label_studio(file: Path, output: Path, *, split: str) -> Imported:
    """Reads an export of the form JSON, and writes a table of `split`. Raises ValueError, OSError."""
    if output.suffix not in (".csv", ".parquet"):
        raise ValueError(f"{output}: a table ends in .csv or .parquet")
    done, rows = Imported(), []
    for task in _tasks(file):
        label = _choice(_last_annotation(task))
        if label is None:
            done.without += 1
            continue
        done.labels += 1
        done.corrected += label != _choice(next(iter(task.get("predictions") or []), None))
        rows.append((_path(task, output), label, split, str(task["data"].get("sha256") or "")))
    if not rows:
        raise ValueError(f"{file}: none of its {done.without:,} tasks has a label")
    (_write_csv if output.suffix == ".csv" else _write_parquet)(output, rows)
    return done


def _tasks(file: Path) -> Iterator[Any]:
    try:
        tasks = json.loads(file.read_bytes())
    except ValueError:
        raise ValueError(f"{file}: not JSON; export the project from Label Studio in that form") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) and "data" in task for task in tasks):
        raise ValueError(f"{file}: not a list of tasks; export the project from Label Studio as JSON, not as JSON-MIN")
    return iter(tasks)


def _last_annotation(task: dict[str, Any]) -> Any:
    """The newest one that its author did not skip."""
    kept = [each for each in task.get("annotations") or [] if not each.get("was_cancelled")]
    return max(kept, key=lambda each: str(each.get("updated_at") or each.get("created_at") or ""), default=None)


def _choice(answer: Any) -> str | None:
    """The one class that it chose; None where it chose none, or several."""
    chosen = [
        choice
        for region in (answer or {}).get("result") or [] if region.get("type") == "choices"
        for choice in region["value"]["choices"]
    ]  # fmt: skip
    return str(chosen[0]) if len(chosen) == 1 else None


def _path(task: dict[str, Any], output: Path) -> str:
    """As seen from the table's folder, where the file is there."""
    path = str(task["data"].get("path") or task["data"].get("image"))
    return os.path.relpath(path, output.parent) if Path(path).is_file() else path


def _write_csv(output: Path, rows: list[tuple[str, str, str, str]]) -> None:
    with whole_file(output) as file:
        text = TextIOWrapper(file, encoding="utf-8", newline="")
        csv.writer(text).writerows([COLUMNS, *rows])
        text.flush()
        text.detach()  # or else it would close the file


def _write_parquet(output: Path, rows: list[tuple[str, str, str, str]]) -> None:
    with needs_pyarrow(output):
        import pyarrow
        from pyarrow import parquet

        columns = dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
        with whole_file(output) as file:
            parquet.write_table(pyarrow.table(columns), file)
