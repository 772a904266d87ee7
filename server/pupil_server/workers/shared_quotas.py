"""A token's bucket that several processes draw from."""

import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pupil_server.quotas import Bucket

NUMBERS = struct.Struct("dd")  # how full it is, and when that was


class SharedBucket(Bucket):
    """A bucket whose two numbers lie in a file.

    Every process of a machine reads the same monotonic clock. The lock is held for a few system calls, and the kernel
    takes it from a process that dies.
    """

    def __init__(self, rate: float, burst: float, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(rate, burst, clock)
        self._file = file

    def take(self, units: float) -> float:
        with self._shared():
            return super().take(units)

    def promise(self, units: float) -> float:
        with self._shared():
            return super().promise(units)

    def give_back(self, units: float) -> None:
        with self._shared():
            super().give_back(units)

    @contextmanager
    def _shared(self) -> Iterator[None]:
        """The numbers as the others left them, and what becomes of them for the others."""
        file = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX)
            if numbers := os.pread(file, NUMBERS.size, 0):  # nothing yet: as full as a new one
                self._filled, self._at = NUMBERS.unpack(numbers)
            yield
            os.pwrite(file, NUMBERS.pack(self._filled, self._at), 0)
        finally:
            os.close(file)  # and lets go of the lock
