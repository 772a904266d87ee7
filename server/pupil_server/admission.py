"""The door of one model's queue: bounded in images and in bytes, so that overload is an answer and not a crash."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pupil_server.errors import BadRequest, Overloaded
from pupil_server.priority import Priority

BULK_SHARE = 0.75  # of the places; the others stay free for interactive requests


@dataclass
class Places:
    """A number of images and of bytes, and how many of them are taken."""

    kind: str
    max_images: int
    max_bytes: int
    images: int = 0
    bytes: int = 0

    def require(self, images: int, held: int, *, retry_after: float) -> None:
        """Raises BadRequest for what can never find place, Overloaded for what finds none now."""
        for wanted, taken, most, what in (
            (images, self.images, self.max_images, "images"),
            (held, self.bytes, self.max_bytes, "bytes"),
        ):
            if wanted > most:
                raise BadRequest(f"{wanted:,} {what} in one request, at most {most:,} are allowed; send fewer images")
            if taken + wanted > most:
                raise Overloaded(
                    f"{taken:,} of at most {most:,} {self.kind}{what} are already waiting; try again later",
                    retry_after=retry_after,
                )

    def take(self, images: int, held: int) -> None:
        self.images += images
        self.bytes += held


class Admission:
    """Counts the images that were let in and are not answered yet, decoding and computing included.

    Their bytes are the files, as long as the request lives, and the pixels that become of them. Bulk may hold at most
    three quarters of the places: however large a pool is, an interactive request finds room beside it.
    """

    def __init__(self, *, max_images: int, max_bytes: int, image_bytes: int) -> None:
        self._all = Places("", max_images, max_bytes)
        self._bulk = Places("bulk ", max(1, int(max_images * BULK_SHARE)), int(max_bytes * BULK_SHARE))
        self._image_bytes = image_bytes
        self.seconds_per_image = 0.001  # follows what is measured; only the hint to come back later depends on it

    @property
    def images(self) -> int:
        return self._all.images

    @property
    def bytes(self) -> int:
        return self._all.bytes

    @contextmanager
    def admit(self, images: int, file_bytes: int = 0, priority: Priority = Priority.INTERACTIVE) -> Iterator[None]:
        """Holds places for `images` while inside. Raises Overloaded when there are not enough left."""
        held = images * self._image_bytes + file_bytes
        places = (self._bulk, self._all) if priority is Priority.BULK else (self._all,)
        retry_after = max(0.01, self.images * self.seconds_per_image)
        for some in places:
            some.require(images, held, retry_after=retry_after)
        for some in places:
            some.take(images, held)
        try:
            yield
        finally:
            for some in places:
                some.take(-images, -held)

    def measured(self, images: int, seconds: float) -> None:
        """One batch took this long."""
        self.seconds_per_image += 0.1 * (seconds / images - self.seconds_per_image)
