"""What a handler knows about its caller, whatever transport carried the call."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Self

from pupil_server.errors import DeadlineExceeded
from pupil_server.priority import Priority


@dataclass(slots=True)
class Call:
    """One call: when it must be answered, what came beside the request, and from where.

    Cancellation is asyncio's: a front cancels the task that runs the handler, and whatever the task had
    queued is dropped where it waits.
    """

    method: str
    deadline: float  # on time.monotonic's clock, which is also the event loop's; infinite only for streams
    peer: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    priority: Priority = Priority.INTERACTIVE

    def remaining(self) -> float:
        """Seconds until the deadline, negative once it has passed."""
        return self.deadline - time.monotonic()

    def require_time(self) -> None:
        """Raises DeadlineExceeded once the deadline has passed: call it before work that would be in vain."""
        if self.remaining() <= 0:
            raise DeadlineExceeded("the deadline passed before the work began")

    @asynccontextmanager
    async def limited(self, seconds: float = float("inf")) -> AsyncIterator[Self]:
        """The same call with at most `seconds` left; then what is inside is cancelled, and DeadlineExceeded raised."""
        sooner = replace(self, deadline=min(self.deadline, time.monotonic() + seconds))
        try:
            async with asyncio.timeout(sooner.remaining() if sooner.deadline < float("inf") else None):
                yield sooner
        except TimeoutError:
            raise DeadlineExceeded("the deadline passed") from None
