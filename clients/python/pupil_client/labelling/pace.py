"""How many streams at once, and how many images a message: as much as the server takes, and no more.

Streams are added while those that run are not slower for it, and taken away when too many of them queue: TCP Vegas
(Brakmo and Peterson 1995), whose signal is the time that an image takes. A refusal halves them.
"""

import threading

MOST_STREAMS = 16
FEW, MANY = 1.0, 3.0  # streams that queue for the others: below, one more is opened; above, one less
FORGETTING = 1.02  # how fast the shortest time so far fades, a shard: a server may have become slower for good
LEAST_IMAGES, FIRST_IMAGES, MOST_IMAGES = 8, 32, 256
MESSAGE_SECONDS = 0.25  # of work in one message: far below any deadline, yet many small images together


class Pace:
    """Follows what is measured; its two numbers may be read at any time, by any thread."""

    def __init__(self) -> None:
        self.streams = 1
        self.message_images = FIRST_IMAGES
        self._most_images = MOST_IMAGES
        self._shortest = float("inf")
        self._lock = threading.Lock()

    def labelled(self, images: int, seconds: float) -> None:
        """A stream took this long for so many images."""
        an_image = max(seconds, 1e-9) / images
        with self._lock:
            self._shortest = min(an_image, self._shortest * FORGETTING)
            queueing = self.streams * (1 - self._shortest / an_image)
            if queueing < FEW:
                self.streams = min(MOST_STREAMS, self.streams + 1)
            elif queueing > MANY:
                self.streams -= 1
            wanted = round(MESSAGE_SECONDS / an_image)
            self.message_images = min(self._most_images, max(LEAST_IMAGES, wanted))

    def refused(self) -> None:
        """The server is unavailable, overloaded or out of time."""
        with self._lock:
            self.streams = max(1, self.streams // 2)

    def send_fewer(self) -> bool:
        """A message was too much; `False` where it cannot be smaller."""
        with self._lock:
            possible = self.message_images > 1
            self.message_images = self._most_images = max(1, self.message_images // 2)
            return possible
