"""One timer for many deadlines."""

import asyncio
import time
from collections.abc import Callable

NEVER = float("inf")


class Alarm:
    """Rings at the earliest of the times that it is set to, but never twice within `pause` seconds.

    Times are the event loop's, which are time.monotonic's. An alarm that is not set knows nobody: whoever owns it is
    freed with the last reference from elsewhere.
    """

    def __init__(self, *, pause: float = 0.0) -> None:
        self._pause = pause
        self._handle: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self.time = NEVER

    def set(self, due: float, ring: Callable[[], None]) -> None:
        """Calls `ring` at `due`, unless the alarm rings before."""
        if due >= self.time:
            return
        due = max(due, self._not_before)
        if due < self.time:
            self.clear()
            self.time = due
            self._handle = asyncio.get_running_loop().call_at(due, self._go, ring)

    def clear(self) -> None:
        if self._handle:
            self._handle.cancel()
        self._handle, self.time = None, NEVER

    def _go(self, ring: Callable[[], None]) -> None:
        self._handle, self.time = None, NEVER
        self._not_before = time.monotonic() + self._pause
        ring()
