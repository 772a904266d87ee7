"""Room on disk for the time of one command: there may be millions of rows."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager


@contextmanager
def on_disk() -> Iterator[sqlite3.Connection]:
    """An empty database in a temporary file of SQLite's own. Raises OSError, as where that disk is full."""
    try:
        with closing(sqlite3.connect("")) as sql:
            yield sql
    except sqlite3.Error as error:
        raise OSError(None, f"a temporary file: {error}; TMPDIR may name another folder") from error
