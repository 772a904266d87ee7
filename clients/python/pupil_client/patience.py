"""Every wait has an end, on a stream too: how long its silence may last, whatever the number of images."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from pupil_client.errors import DeadlineExceeded

Message = TypeVar("Message")


class Patience:
    """How long a server may be silent; while it is our turn (making a request, using an answer) nothing counts."""

    def __init__(self, address: str, seconds: float) -> None:
        self.address = address
        self.seconds = seconds
        self.failure: Exception | None = None
        self._turns = 0
        self._since = time.monotonic()
        self._lock = threading.Lock()  # requests are made in gRPC's thread, answers are used in the caller's

    @contextmanager
    def our_turn(self) -> Iterator[None]:
        """Inside, the server owes us nothing; afterwards the count starts anew."""
        with self._lock:
            self._turns += 1
        try:
            yield
        finally:
            with self._lock:
                self._turns -= 1
                self._since = time.monotonic()

    def left(self) -> float:
        """Seconds until it ends, if nothing happens."""
        with self._lock:
            return self.seconds if self._turns else max(0.0, self._since + self.seconds - time.monotonic())

    def requests(self, made: Iterator[Message]) -> Iterator[Message]:
        """The same requests; making one is our turn, and what goes wrong in it is kept for `check`."""
        while True:
            with self.our_turn(), self._kept():
                request = next(made, None)
            if self.failure or request is None:
                return
            yield request

    async def async_requests(self, made: AsyncIterator[Message]) -> AsyncIterator[Message]:
        """The same for the async client."""
        while True:
            with self.our_turn(), self._kept():
                request = await anext(made, None)
            if self.failure or request is None:
                return
            yield request

    def silence(self) -> DeadlineExceeded:
        """The error that ends a stream whose server was silent for too long."""
        return DeadlineExceeded(f"{self.address} was silent for {self.seconds:g} s")

    def check(self) -> None:
        """Raises what went wrong while a request was made: a file that is gone, an image that is none."""
        if self.failure:
            raise self.failure

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except Exception as failure:  # gRPC would log it and call it UNKNOWN
            self.failure = failure

    @contextmanager
    def watch(self, cancel: Callable[[], object]) -> Iterator[threading.Event]:
        """Cancels a call, and sets the event, when patience ends inside."""
        over, done = threading.Event(), threading.Event()

        def wait() -> None:
            while not done.wait(self.left()):
                if self.left() == 0.0:
                    over.set()
                    cancel()
                    return

        watcher = threading.Thread(target=wait, name="pupil-patience", daemon=True)
        watcher.start()
        try:
            yield over
        finally:
            done.set()
            watcher.join()

    async def answer(self, coming: Awaitable[Message]) -> Message:
        """The next answer. Raises `DeadlineExceeded` when patience ends before it comes."""
        reading = asyncio.ensure_future(coming)
        while not reading.done() and self.left() > 0.0:
            await asyncio.wait({reading}, timeout=self.left())
        if not reading.done():
            reading.cancel()
            raise self.silence()
        return reading.result()
