"""One timer for many deadlines."""

import asyncio
from collections.abc import Callable

NEVER = float("inf")


class Alarm:
    """Rings at the earliest of the times that it is set to, but never twice within `pause` seconds.

    Times are the event loop's, which are time.monotonic's. An alarm that is not set knows nobody: whoever owns it is
    freed with the last reference from elsewhere.
    """

    def __init__(self, *, pause: float = 0.0) -> None:
        self._pause = pause
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self.time = NEVER

    def set(self, time: float, ring: Callable[[], None]) -> None:
        """Calls `ring` at `time`, unless the alarm rings before."""
        if time >= self.time:
            return
        time = max(time, self._not_before)
        if time < self.time:
            self.clear()
            self.time = time
            self._handle = self._loop.call_at(time, self._go, ring)

    def clear(self) -> None:
        if self._handle:
            self._handle.cancel()
        self._handle, self.time = None, NEVER

    def _go(self, ring: Callable[[], None]) -> None:
        self._handle, self.time = None, NEVER
        self._not_before = self._loop.time() + self._pause
        ring()
