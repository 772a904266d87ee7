"""One model's door: who comes in is charged for its images, holds places for them, and is counted where it fails."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from pupil_server.admission import Admission
from pupil_server.call import Call
from pupil_server.statistics import Statistics


class Door:
    def __init__(self, admission: Admission) -> None:
        self.admission, self.statistics = admission, Statistics()

    def open(self, images: int, call: Call, files: Sequence[bytes] = ()) -> "Entry":
        """`with door.open(…) as arrived:` has places for the images and their files while inside.

        Raises Overloaded, QuotaUsedUp or BadRequest where there are none.
        """
        return Entry(self, images, call, sum(map(len, files)))


class Entry:
    """One request inside. A class, not a generator: every request comes through here."""

    __slots__ = ("_arrived", "_call", "_charge", "_door", "_file_bytes", "_images", "_places")

    def __init__(self, door: Door, images: int, call: Call, file_bytes: int) -> None:
        self._door, self._images, self._call, self._file_bytes = door, images, call, file_bytes
        self._charge: AbstractContextManager[Any] | None = None
        self._places: AbstractContextManager[None] | None = None

    def __enter__(self) -> float:
        """The time at which the request came."""
        self._arrived = time.monotonic()
        try:
            if self._call.quota:
                charge = self._call.charged(self._images)
                charge.__enter__()
                self._charge = charge
            self._places = self._door.admission.admit(self._images, self._file_bytes, self._call.priority)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self._arrived

    def __exit__(self, *error: Any) -> None:
        if self._places:
            self._places.__exit__(*error)
        if error[0]:
            self._door.statistics.failed.add(time.monotonic() - self._arrived)
        if self._charge:
            self._charge.__exit__(*error)
