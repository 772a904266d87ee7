"""What stands around the images of a request. Callers repeat it, so each is read once."""

from collections.abc import Callable
from typing import Generic, TypeVar

from google.protobuf.message import DecodeError

from pupil_server.errors import PupilError
from pupil_server.wire import place

T = TypeVar("T")
LENGTHS, EACH = 64, 64  # that are remembered: lengths of requests, and envelopes of each
LARGEST = 1024  # bytes of an envelope
MOST = 2**20  # bytes of a request: with more in it nothing is done quickly, least of all reading it once more

Path = tuple[int, ...]


class Layout(Generic[T]):
    """Where the id and the images lie in requests of one length, and what was read in the rest of them."""

    def __init__(self, id: tuple[int, int], images: tuple[int, int]) -> None:
        self.id_start, self.id_end = id
        self.start, self.end = images
        self.known: dict[bytes, T | None] = {}

    def around(self, request: bytes) -> bytes:
        return request[: self.id_start] + request[self.id_end : self.start] + request[self.end :]

    def images(self, request: bytes) -> bytes:
        return request[self.start : self.end]

    def has_text(self, request: bytes) -> bool:
        """Whether the id, which is not read, is text at all."""
        try:
            self.id(request).decode()
        except UnicodeDecodeError:
            return False
        return True

    def id(self, request: bytes) -> bytes:
        return request[self.id_start : self.id_end]


class Envelopes(Generic[T]):
    """Reads requests without looking at their images: `read` sees each envelope once, in the first request of its kind,
    and its id. What it raises of our errors, and None, mean a request that it does not want.

    Two requests of one length that are alike around their images and their ids are alike in all lengths and numbers of
    fields, so these lie in the same places.
    """

    def __init__(self, read: Callable[[bytes, bytes], T | None], images: Path, id: Path = ()) -> None:
        self._read, self._images, self._id = read, images, id
        self._layouts: dict[int, Layout[T]] = {}  # by the length of the request

    def open(self, request: bytes) -> tuple[T, Layout[T]] | None:
        """What was read, and where the rest lies; None for a request that `read` does not want, or in another form."""
        layout = self._layouts.get(len(request))
        if layout:
            around = layout.around(request)
            if around in layout.known:
                found = layout.known[around]
                return (found, layout) if found is not None and layout.has_text(request) else None
        return self._open_first(request)

    def _open_first(self, request: bytes) -> tuple[T, Layout[T]] | None:
        if len(request) > MOST:
            return None
        images, id = place(request, self._images), (place(request, self._id) if self._id else None) or (0, 0)
        if images is None or id[1] > images[0] or len(request) - (images[1] - images[0]) > LARGEST:
            return None
        try:
            found = self._read(request, request[id[0] : id[1]])
        except (DecodeError, PupilError):
            return None
        layout = self._layout(len(request), id, images)
        layout.known[layout.around(request)] = found
        return None if found is None else (found, layout)

    def _layout(self, length: int, id: tuple[int, int], images: tuple[int, int]) -> Layout[T]:
        """The one of this length, with room for another envelope."""
        known = self._layouts.get(length)
        if known and (known.id_start, known.id_end, known.start, known.end) == (*id, *images):
            if len(known.known) >= EACH:
                known.known.clear()
            return known
        if len(self._layouts) >= LENGTHS:
            self._layouts.clear()
        self._layouts[length] = made = Layout[T](id, images)
        return made
