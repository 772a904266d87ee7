"""What is done of a job: a folder beside its output, with a ledger in SQLite and a file for each finished shard.

Shards are written aside and renamed before the ledger hears of them, so that a process may die at any moment: what
the ledger does not know is done again, into the same file.
"""

import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pupil_client.labelling.whole import whole_file

Line = list[Any]  # of one image, see `asking.py`

TABLES = """
CREATE TABLE IF NOT EXISTS job (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shards (number INTEGER PRIMARY KEY, images INTEGER, served_by TEXT);
"""


class Shard(NamedTuple):
    """A finished part of a job."""

    number: int
    images: int
    served_by: str


class Ledger:
    """The state of one job; used by one thread of one process at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.aside = folder / "output"  # where the output grows
        file = folder / "ledger.sqlite"
        if not file.exists():
            shutil.rmtree(folder / "shards", ignore_errors=True)  # of a job that ended while it was removed
        (folder / "shards").mkdir(parents=True, exist_ok=True)
        with self._told():
            self._sql = sqlite3.connect(file, timeout=0, isolation_level=None)
            self._sql.execute("PRAGMA locking_mode = EXCLUSIVE")  # until closed, and the system closes for the dead
            self._sql.execute("PRAGMA journal_mode = WAL")
            self._sql.execute("PRAGMA synchronous = NORMAL")  # what it forgets when the power fails is done again
            self._sql.executescript(TABLES)

    def facts(self) -> dict[str, str]:
        """What the job was begun with; empty where it is new."""
        return dict(self._sql.execute("SELECT name, value FROM job"))

    def begin(self, facts: Mapping[str, str]) -> None:
        """Notes what a new job is about."""
        with self._told(), self._sql:
            self._sql.execute("BEGIN")
            self._sql.executemany("INSERT INTO job VALUES (?, ?)", facts.items())

    def finished(self) -> list[Shard]:
        """The shards that are done, in order."""
        rows = self._sql.execute("SELECT number, images, served_by FROM shards ORDER BY number")
        return [Shard(*row) for row in rows]

    def finish(self, shard: Shard) -> None:
        """Its file is in place."""
        with self._told():
            self._sql.execute("INSERT INTO shards VALUES (?, ?, ?)", shard)

    def write(self, number: int, lines: list[Line]) -> None:
        """The file of a shard; any thread may do it. Raises OSError."""
        with whole_file(self._file(number)) as file:
            file.write(json.dumps(lines).encode())  # at once: line by line takes three times as long

    def read(self, shard: Shard) -> list[Line]:
        """The images of a finished shard. Raises ValueError where the file is not what was written, OSError."""
        file = self._file(shard.number)
        try:
            lines: list[Line] = json.loads(file.read_bytes())
            if len(lines) == shard.images:
                return lines
        except ValueError:  # no JSON, or no text at all
            pass
        raise ValueError(f"{file}: not the {shard.images} images that were written; remove {self._folder}")

    def close(self) -> None:
        """Another process may go on."""
        self._sql.close()

    def remove(self) -> None:
        """Closes it, and leaves nothing behind. The ledger goes first: without it the rest counts as rubbish."""
        self.close()
        for name in ("output", "ledger.sqlite-wal", "ledger.sqlite"):
            (self._folder / name).unlink(missing_ok=True)
        shutil.rmtree(self._folder / "shards")
        self._folder.rmdir()

    def _file(self, number: int) -> Path:
        return self._folder / "shards" / f"{number:06}.json"

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if "locked" in str(error):
                raise ValueError(f"{self._folder}: another process is at work on this job") from None
            raise OSError(None, str(error), str(self._folder)) from error


def work_folder(output: Path) -> Path:
    """Where the job of an output keeps what is done."""
    return output.with_name(output.name + ".job")
