"""The door of one model's queue: bounded in images and in bytes, so that overload is an answer and not a crash."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from pupil_server.errors import BadRequest, Overloaded
from pupil_server.priority import Priority

SHARE = 0.75  # of the places: what bulk may hold at most, and while bulk is kept waiting interactive requests too
CLAIM = 1.0  # seconds beyond its retry-after for which bulk that was turned away counts as waiting


@dataclass(slots=True)
class Places:
    """A number of images and of bytes, and how many of them are taken."""

    kind: str
    max_images: int
    max_bytes: int
    images: int = 0
    bytes: int = 0

    def has(self, images: int, held: int) -> bool:
        return self.images + images <= self.max_images and self.bytes + held <= self.max_bytes

    def refusal(self, images: int, held: int, *, retry_after: float) -> BadRequest | Overloaded:
        """BadRequest for what can never find places, Overloaded for what finds none now."""
        what, wanted, taken, most = "images", images, self.images, self.max_images
        if taken + wanted <= most:
            what, wanted, taken, most = "bytes", held, self.bytes, self.max_bytes
        if wanted > most:
            return BadRequest(f"{wanted:,} {what} in one request, at most {most:,} are allowed; send fewer images")
        return Overloaded(
            f"{taken:,} of at most {most:,} {self.kind}{what} are already waiting; try again later",
            retry_after=retry_after,
        )


class Hold:
    """Places that are taken until it is left."""

    __slots__ = ("_bytes", "_images", "_places")

    def __init__(self, places: tuple[Places, Places], images: int, held: int) -> None:
        self._places, self._images, self._bytes = places, images, held
        for some in places:
            some.images += images
            some.bytes += held

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None:
        for some in self._places:
            some.images -= self._images
            some.bytes -= self._bytes


class Admission:
    """Counts the images that were let in and are not answered yet, decoding and computing included.

    Their bytes are the files, as long as the request lives, and the pixels that become of them. Bulk may hold at most
    three quarters of the places: however large a pool is, an interactive request finds room beside it. Once bulk was
    turned away, interactive requests may not hold more either, until bulk is let in or does not come again.
    """

    def __init__(
        self, *, max_images: int, max_bytes: int, image_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        share = max(1, int(max_images * SHARE)), int(max_bytes * SHARE)
        self._all, self._interactive = Places("", max_images, max_bytes), Places("interactive ", *share)
        self._for_interactive, self._for_bulk = (self._interactive, self._all), (Places("bulk ", *share), self._all)
        self._image_bytes = image_bytes
        self._clock = clock
        self._bulk_waits_until = 0.0
        self.seconds_per_image = 0.001  # follows what is measured; only the hint to come back later depends on it

    @property
    def images(self) -> int:
        return self._all.images

    @property
    def bytes(self) -> int:
        return self._all.bytes

    def admit(self, images: int, file_bytes: int = 0, priority: Priority = Priority.INTERACTIVE) -> Hold:
        """`with admit(…):` takes places for the images. Raises BadRequest or Overloaded where there are none."""
        held = images * self._image_bytes + file_bytes
        if priority is Priority.BULK:
            return self._admit_bulk(images, held)
        if not self._all.has(images, held):
            raise self._all.refusal(images, held, retry_after=self._retry_after())
        if not self._interactive.has(images, held) and self._clock() < self._bulk_waits_until:
            raise Overloaded(
                "the places that are left are kept for bulk, which waits; try again", retry_after=self._retry_after()
            )
        return Hold(self._for_interactive, images, held)

    def _admit_bulk(self, images: int, held: int) -> Hold:
        for some in self._for_bulk:
            if not some.has(images, held):
                retry_after = self._retry_after()
                self._bulk_waits_until = self._clock() + retry_after + CLAIM
                raise some.refusal(images, held, retry_after=retry_after)
        self._bulk_waits_until = 0.0
        return Hold(self._for_bulk, images, held)

    def _retry_after(self) -> float:
        return max(0.01, self.images * self.seconds_per_image)

    def measured(self, images: int, seconds: float) -> None:
        """One batch took this long."""
        self.seconds_per_image += 0.1 * (seconds / images - self.seconds_per_image)
