"""Files and folders that are there whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path, aside: Path | None = None) -> Iterator[BinaryIO]:
    """A file that takes its place on leaving; on an error, what was there before still is. Raises OSError.

    Until then it is `aside`, which a killed process leaves behind: a place on the same disk that nobody else uses.
    """
    partial = aside or _partial(path)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """An empty folder that takes its place on leaving. Raises ValueError where one is there already, OSError."""
    if path.exists():
        raise ValueError(f"{path} is there already; name another folder, or remove it")
    partial = _partial(path)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")
