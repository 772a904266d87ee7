"""The deadlines of many calls, under one timer."""

import asyncio
import functools
import time
from types import TracebackType

from pupil_server.alarm import NEVER, Alarm
from pupil_server.errors import DeadlineExceeded

LOOK_EVERY = 0.005  # seconds between two looks at most: who is late hears it that late at most


class Deadlines:
    """`with deadlines.limit(time):` cancels what is inside at that time of time.monotonic, and raises DeadlineExceeded.

    It does what asyncio.timeout does, which sets a timer for each call and takes it back: nearly all calls end in time.
    """

    def __init__(self) -> None:
        self._limits: set[Limit] = set()
        self._alarm = Alarm(pause=LOOK_EVERY)

    def limit(self, deadline: float) -> "Limit":
        return Limit(self, deadline)

    def add(self, limit: "Limit") -> None:
        self._limits.add(limit)
        self._alarm.set(limit.deadline, self._look)

    def remove(self, limit: "Limit") -> None:
        self._limits.discard(limit)

    @functools.cached_property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The one of all who enter: to ask for it costs a system call each time."""
        return asyncio.get_running_loop()

    def _look(self) -> None:
        now = time.monotonic()
        for limit in self._limits:
            if limit.deadline <= now:
                limit.expire()
        deadlines = (limit.deadline for limit in self._limits if not limit.expired)
        self._alarm.set(min(deadlines, default=NEVER), self._look)


class Limit:
    """One deadline, over the task that enters it."""

    __slots__ = ("_cancelling", "_deadlines", "_task", "deadline", "expired")

    def __init__(self, deadlines: Deadlines, deadline: float) -> None:
        self._deadlines, self.deadline, self.expired = deadlines, deadline, False

    def __enter__(self) -> None:
        task = asyncio.current_task(self._deadlines.loop)
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._deadlines.add(self)

    def expire(self) -> None:
        if not self.expired:
            self.expired = True
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadlines.remove(self)
        # Where somebody else has cancelled the task as well, that is what it hears.
        if self.expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise DeadlineExceeded("the deadline expired") from None
