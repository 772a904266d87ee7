"""Files and folders that are written whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pupil_training.errors import DataError


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` once it is on the disk; after an error `path` is as before."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        if error.filename in (None, str(partial)):  # a full disk does not say which file it is about
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """A folder to fill, which gets its name at the end; after an error nothing is left. DataError where it exists."""
    if folder.exists():
        raise DataError(f"{folder}: exists already; remove it or choose another folder")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Removes what writers that were killed left half done; nobody else may be writing into the folder."""
    for partial in folder.glob(".*.*"):
        if partial.suffix[1:].isdecimal() and partial.is_file():
            partial.unlink()


def write_json(path: Path, value: Any) -> None:
    """`value` as indented JSON, written whole."""
    with written_whole(path) as file:
        file.write((json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())
