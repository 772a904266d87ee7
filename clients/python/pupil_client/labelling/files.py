"""Which image went into which file: on disk, for there may be millions."""

import sqlite3
from collections.abc import Iterable

TABLE = "CREATE TABLE files (number INTEGER PRIMARY KEY, image BLOB UNIQUE, file TEXT)"


class Files:
    """Images by name and by the place of their row, and the file of each, once it has one."""

    def __init__(self, sql: sqlite3.Connection) -> None:
        self._sql = sql
        self._sql.execute(TABLE)

    def want(self, images: Iterable[str]) -> int:
        """These are wanted, in this order; how many different ones they are."""
        numbered = ((number, _key(image)) for number, image in enumerate(images))
        self._sql.executemany("INSERT OR IGNORE INTO files (number, image) VALUES (?, ?)", numbered)
        return int(self._sql.execute("SELECT count(*) FROM files").fetchone()[0])

    def wanted(self, image: str) -> bool:
        return self._sql.execute("SELECT 1 FROM files WHERE image = ?", (_key(image),)).fetchone() is not None

    def put(self, image: str, file: str) -> None:
        """A wanted image has this file now."""
        self._sql.execute("UPDATE files SET file = ? WHERE image = ?", (file, _key(image)))

    def of(self, number: int, image: str) -> str | None:
        """The file of the image that was wanted at this place; None where it has none, or an earlier place has it."""
        asked = "SELECT file FROM files WHERE number = ? AND image = ?"
        found = self._sql.execute(asked, (number, _key(image))).fetchone()
        return str(found[0]) if found and found[0] else None


def _key(image: str) -> bytes:
    """SQLite takes no text that is not UTF-8, which names of files need not be."""
    return image.encode(errors="surrogatepass")
