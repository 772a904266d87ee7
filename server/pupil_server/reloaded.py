"""Files that may be changed while the server runs: certificates, tokens."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from pupil_server.errors import SettingsError

log = logging.getLogger("pupil.files")

Content = TypeVar("Content")
Stamp: TypeAlias = tuple[tuple[int, int, int] | None, ...]


class Reloaded(Generic[Content]):
    """What `read` makes of some files, and makes of them again once they have changed.

    A change is taken when two looks in a row find the same: a file that is still being written is left alone. One
    that cannot be understood is logged once, and what was read before stays.
    """

    def __init__(self, files: Sequence[Path], read: Callable[[], Content]) -> None:
        self._files = files
        self._read = read
        self._taken = self._seen = self._stamp()
        self.content = read()  # raises SettingsError at the start, never later

    def look(self) -> None:
        """Asks the disk whether something changed; call it every second or so."""
        last, self._seen = self._seen, self._stamp()
        if self._taken != self._seen == last:
            self.reload()

    def reload(self) -> None:
        """Reads the files now."""
        before = self._stamp()
        try:
            content = self._read()
        except SettingsError as error:
            self._taken = before  # said once; the next change is looked at again
            log.error("%s; what was read before stays in force", error)
            return
        if self._stamp() == before:
            self._taken, self.content = before, content
            log.info("read again: %s", ", ".join(map(str, self._files)))

    def _stamp(self) -> Stamp:
        return tuple(map(_stamp, self._files))


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """What differs once a file, or what a link points at, is another one."""
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)
