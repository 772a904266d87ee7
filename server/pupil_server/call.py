"""What a handler knows about its caller, whatever transport carried the call."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from pupil_server.errors import DeadlineExceeded
from pupil_server.priority import Priority
from pupil_server.quotas import Quota

if TYPE_CHECKING:
    from pupil_server.tracing import CallTrace


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
    id: str = ""  # in the answer's trailing metadata and on every line of the log
    token: str = ""  # its name, once it has been checked
    quota: Quota | None = None  # what its images are charged to
    trace: "CallTrace | None" = None  # where it tells of its parts
    priority: Priority = Priority.INTERACTIVE

    def remaining(self) -> float:
        """Seconds until the deadline, negative once it has passed."""
        return self.deadline - time.monotonic()

    def require_time(self) -> None:
        """Raises DeadlineExceeded once the deadline has passed: call it before work that would be in vain."""
        if self.deadline <= time.monotonic():
            raise DeadlineExceeded("the deadline passed before the work began")

    def charged(self, images: int) -> AbstractContextManager[Self]:
        """The same call with `images` charged to the quota once, however many models see them inside."""
        return self._charged(self.quota, images) if self.quota else nullcontext(self)

    @contextmanager
    def _charged(self, quota: Quota, images: int) -> Iterator[Self]:
        with quota.charge(images):
            yield replace(self, quota=None)

    async def paid(self, images: int) -> Self:
        """The same call with `images` paid for; waits until the quota has them, where a single call is refused."""
        if self.quota:
            await self.quota.wait(images)
        return replace(self, quota=None)

    @asynccontextmanager
    async def limited(self, seconds: float = float("inf")) -> AsyncIterator[Self]:
        """The same call with at most `seconds` left; then what is inside is cancelled, and DeadlineExceeded raised."""
        deadline = min(self.deadline, time.monotonic() + seconds)
        sooner = self if deadline == self.deadline else replace(self, deadline=deadline)
        try:
            async with asyncio.timeout(sooner.remaining() if sooner.deadline < float("inf") else None):
                yield sooner
        except TimeoutError:
            raise DeadlineExceeded("the deadline passed") from None
