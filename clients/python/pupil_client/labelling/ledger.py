"""What is done of a job: a folder beside its output, with a ledger in SQLite and a file for each finished shard.

Shards are written aside and renamed before the ledger hears of them, so that a process may die at any moment: what
the ledger does not know is done again, into the same file, and so is a shard whose file is not what was written.
"""

import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from pupil_client.labelling.whole import whole_file

Line = list[Any]  # of one image, see `asking.py`

TABLES = """
CREATE TABLE IF NOT EXISTS job (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shards (number INTEGER PRIMARY KEY, images INTEGER, served_by TEXT, sha256 TEXT);
"""


class Shard(NamedTuple):
    """A finished part of a job."""

    number: int
    images: int
    served_by: str
    sha256: str  # of its file


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
        with self._told():
            return dict(self._sql.execute("SELECT name, value FROM job"))

    def begin(self, facts: Mapping[str, str]) -> None:
        """Notes what a new job is about."""
        with self._told(), self._sql:
            self._sql.execute("BEGIN")
            self._sql.executemany("INSERT INTO job VALUES (?, ?)", facts.items())

    def finished(self) -> list[Shard]:
        """The shards that are done, in order."""
        with self._told():
            rows = self._sql.execute("SELECT number, images, served_by, sha256 FROM shards ORDER BY number")
            return [Shard(*row) for row in rows]

    def forget_damaged(self) -> None:
        """Shards whose files were changed or removed count as not done. Raises OSError."""
        for shard in self.finished():
            if self._content(shard) is None:
                with self._told():
                    self._sql.execute("DELETE FROM shards WHERE number = ?", (shard.number,))

    def finish(self, shard: Shard) -> None:
        """Its file is in place."""
        with self._told():
            self._sql.execute("INSERT INTO shards VALUES (?, ?, ?, ?)", shard)

    def write(self, number: int, lines: list[Line], served_by: str) -> Shard:
        """The file of a shard, which is not finished yet; any thread may do it. Raises OSError."""
        content = json.dumps(lines).encode()  # at once: line by line takes three times as long
        with whole_file(self._file(number)) as file:
            file.write(content)
        return Shard(number, len(lines), served_by, sha256(content).hexdigest())

    def read(self, shard: Shard) -> list[Line]:
        """The images of a finished shard. Raises ValueError where the file is not what was written, OSError."""
        content = self._content(shard)
        if content is None:
            file = self._file(shard.number)
            raise ValueError(f"{file}: changed since it was written; the same command labels its images anew")
        lines: list[Line] = json.loads(content)
        return lines

    def _content(self, shard: Shard) -> bytes | None:
        """None where it is not what was written."""
        try:
            content = self._file(shard.number).read_bytes()
        except FileNotFoundError:
            return None
        return content if sha256(content).hexdigest() == shard.sha256 else None

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
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise ValueError(f"{self._folder}: another process is at work on this job") from None
            raise OSError(None, str(error), str(self._folder)) from error
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self._folder}: its ledger is damaged ({error}); remove it to start over") from None


def work_folder(output: Path) -> Path:
    """Where the job of an output keeps what is done."""
    return output.with_name(output.name + ".job")
