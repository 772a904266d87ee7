"""The door of one model's queue: bounded in images and in bytes, so that overload is an answer and not a crash."""

from collections.abc import Iterator
from contextlib import contextmanager

from pupil_server.errors import BadRequest, Overloaded


class Admission:
    """Counts the images that were let in and are not answered yet, decoding and computing included."""

    def __init__(self, *, max_images: int, max_bytes: int, image_bytes: int) -> None:
        self._max_images = min(max_images, max_bytes // image_bytes)
        self.images = 0
        self.image_bytes = image_bytes
        self.seconds_per_image = 0.001  # follows what is measured; only the hint to come back later depends on it

    @contextmanager
    def admit(self, images: int) -> Iterator[None]:
        """Holds places for `images` while inside. Raises Overloaded when there are not enough left."""
        if images > self._max_images:
            raise BadRequest(f"{images:,} images in one request, at most {self._max_images:,} are allowed; send fewer")
        if self.images + images > self._max_images:
            raise Overloaded(
                f"{self.images:,} of at most {self._max_images:,} images are already waiting; try again later",
                retry_after=max(0.01, self.images * self.seconds_per_image),
            )
        self.images += images
        try:
            yield
        finally:
            self.images -= images

    def measured(self, images: int, seconds: float) -> None:
        """One batch took this long."""
        self.seconds_per_image += 0.1 * (seconds / images - self.seconds_per_image)
