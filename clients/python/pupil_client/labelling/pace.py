"""How many streams at once, and how many images a message: as much as the server takes, and no more.

The number of streams climbs while one more is worth it, and turns back where it is not, because then they only wait
for each other; it never stops trying, since a server may become faster or slower. A refusal halves it.
"""

import threading
import time
from collections.abc import Callable

MOST_STREAMS = 16
WORTH = 0.95  # one more stream is worth it where the images a second grow by more than a twentieth
LEAST_IMAGES, FIRST_IMAGES, MOST_IMAGES = 8, 32, 256
MESSAGE_SECONDS = 0.25  # of work in one message: far below any deadline, yet many small images together


class Pace:
    """Follows what is measured; its two numbers may be read at any time, by any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.streams = 1
        self.message_images = FIRST_IMAGES
        self._most_images = MOST_IMAGES
        self._clock = clock
        self._step = 1
        self._value_before = 0.0
        self._lock = threading.Lock()
        self._measure_anew()

    def labelled(self, images: int, seconds: float) -> None:
        """A stream took this long for the images of a shard."""
        with self._lock:
            wanted = round(MESSAGE_SECONDS * images / max(seconds, 1e-9))
            self.message_images = min(self._most_images, max(LEAST_IMAGES, wanted))
            self._images += images
            self._shards += 1
            if self._shards >= 2 * self.streams:  # the first ones began under another number
                self._climb()

    def refused(self) -> None:
        """The server is unavailable, overloaded or out of time."""
        with self._lock:
            self.streams = max(1, self.streams // 2)
            self._step, self._value_before = 1, 0.0
            self._measure_anew()

    def send_fewer(self) -> bool:
        """A message was too much; `False` where it cannot be smaller."""
        with self._lock:
            possible = self.message_images > 1
            self.message_images = self._most_images = max(1, self.message_images // 2)
            return possible

    def _climb(self) -> None:
        value = self._images / max(self._clock() - self._since, 1e-9) * WORTH**self.streams
        if value < self._value_before:
            self._step = -self._step
        if not 1 <= self.streams + self._step <= MOST_STREAMS:
            self._step = -self._step
        self.streams += self._step
        self._value_before = value
        self._measure_anew()

    def _measure_anew(self) -> None:
        self._since, self._images, self._shards = self._clock(), 0, 0
