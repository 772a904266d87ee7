"""How many images a second a token may ask for."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pupil_server.errors import BadImage, BadRequest, DeadlineExceeded, QuotaUsedUp


class Bucket:
    """A token bucket: `rate` units a second flow in, at most `burst` are kept."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst = rate, burst
        self._clock = clock
        self._filled = burst  # below zero: promised to those who wait
        self._at = clock()

    def take(self, units: float) -> float:
        """Takes `units` and returns 0.0, or takes nothing and returns the seconds until they are there."""
        missing = units - self._level()
        if missing > 0:
            return missing / self.rate
        self._filled -= units
        return 0.0

    def promise(self, units: float) -> float:
        """Takes `units` in any case, and returns the seconds until they are there."""
        self._filled = self._level() - units
        return max(0.0, -self._filled / self.rate)

    def give_back(self, units: float) -> None:
        self._filled = min(self.burst, self._level() + units)

    def _level(self) -> float:
        now = self._clock()
        self._filled = min(self.burst, self._filled + (now - self._at) * self.rate)
        self._at = now
        return self._filled


def new_bucket(name: str, rate: float, burst: int) -> Bucket:
    """The bucket of the token `name`, in this process alone."""
    return Bucket(rate, burst)


class Quota:
    """The images of one token."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    @contextmanager
    def charge(self, images: int) -> Iterator[None]:
        """Charges `images` for what is inside, and gives them back where that is refused or fails through us.

        Raises QuotaUsedUp while there are not enough, BadRequest where there never will be.
        """
        self._require_possible(images)
        seconds = self._bucket.take(images)
        if seconds:
            raise QuotaUsedUp(
                f"the token's quota of {self._bucket.rate:g} images/s is used up; try again later", retry_after=seconds
            )
        try:
            yield
        except Exception as error:
            if not isinstance(error, BadImage | DeadlineExceeded):  # those took work
                self._bucket.give_back(images)
            raise

    async def wait(self, images: int) -> None:
        """Charges `images` and returns when they are there: what a stream does, whose sender is then slowed down."""
        self._require_possible(images)
        seconds = self._bucket.promise(images)
        try:
            if seconds:
                await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self._bucket.give_back(images)
            raise

    def _require_possible(self, images: int) -> None:
        if images > self._bucket.burst:
            raise BadRequest(f"{images:,} images in one request, this token may send {self._bucket.burst:,.0f} at once")
