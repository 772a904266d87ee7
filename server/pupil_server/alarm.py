"""One timer for many deadlines."""

import asyncio
from collections.abc import Callable

NEVER = float("inf")


class Alarm:
    """Rings at the earliest of the times that it is set to, but never twice within `pause` seconds.

    Times are the event loop's, which are time.monotonic's.
    """

    def __init__(self, ring: Callable[[], None], *, pause: float = 0.0) -> None:
        self._ring = ring
        self._pause = pause
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self.time = NEVER

    def set(self, time: float) -> None:
        """Rings at `time`, unless it rings before."""
        if time >= self.time:
            return
        time = max(time, self._not_before)
        if time < self.time:
            self.clear()
            self.time = time
            self._handle = self._loop.call_at(time, self._go)

    def clear(self) -> None:
        if self._handle:
            self._handle.cancel()
        self.time = NEVER

    def _go(self) -> None:
        self.time = NEVER
        self._not_before = self._loop.time() + self._pause
        self._ring()
