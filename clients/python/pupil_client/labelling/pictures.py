"""One image of a source, and a source: what it holds is listed at once and read one after the other."""

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from pupil_client.connection import MAX_MESSAGE_BYTES
from pupil_client.images import RawImage

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MAX_FILE_BYTES = MAX_MESSAGE_BYTES - 4096  # the rest of the message needs some room


class Unreadable(Exception):
    """This image cannot be had; the others can."""


class Picture(NamedTuple):
    """An image with its name. A file is opened when it is read; `content` in words is why there is none."""

    name: str
    size: int  # bytes
    content: Path | RawImage | str

    def read(self) -> RawImage:
        """Its bytes. Raises Unreadable."""
        if isinstance(self.content, str):
            raise Unreadable(self.content)
        if isinstance(self.content, RawImage):
            return _checked(self.content)
        try:
            _check_size(self.content.stat().st_size)
            return _checked(RawImage(self.content.read_bytes()))
        except OSError as error:
            raise Unreadable(error.strerror or str(error)) from None

    def in_memory(self) -> "Picture":
        """The same for whoever does not see the file: with its bytes, or why there are none."""
        try:
            return self._replace(content=self.read())
        except Unreadable as error:
            return self._replace(content=str(error))


def packed(pictures: Iterable[Picture]) -> bytes:
    """Pictures on their way to another process. Pickled as they are, they would take several times as long."""
    return pickle.dumps([(name, size, *_plain(content)) for name, size, content in pictures])


def unpacked(data: bytes) -> list[Picture]:
    """The same pictures there."""
    return [Picture(name, size, _whole(*plain)) for name, size, *plain in pickle.loads(data)]


def _plain(content: Path | RawImage | str) -> tuple[Any, ...]:
    if isinstance(content, RawImage):
        return content.data, content.shape
    return (content,) if isinstance(content, str) else (str(content), "file")


def _whole(content: Any, kind: Any = "problem") -> Path | RawImage | str:
    if isinstance(content, bytes):
        return RawImage(content, kind)
    return Path(content) if kind == "file" else str(content)


def _checked(image: RawImage) -> RawImage:
    _check_size(len(image.data))
    return image


def _check_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise Unreadable(f"{size:,} bytes are too many; at most {MAX_FILE_BYTES:,} travel in one message")


@dataclass(frozen=True)
class Source:
    """Images in an order that is always the same.

    `digest` changes with the names, sizes and times of the files behind it. `total` is None where only reading to
    the end would tell. `pictures` begins anew at each call.
    """

    digest: str
    total: int | None
    pictures: Callable[[], Iterator[Picture]]


def one_after_the_other(sources: Sequence[Source]) -> Source:
    """Several sources as one."""

    def pictures() -> Iterator[Picture]:
        for source in sources:
            yield from source.pictures()

    totals = [source.total for source in sources]
    known = [total for total in totals if total is not None]
    total = sum(known) if len(known) == len(totals) else None
    return Source(digest_of(source.digest for source in sources), total, pictures)


def digest_of(lines: Iterable[str]) -> str:
    """One name for many lines."""
    digest = sha256()
    for line in lines:
        digest.update(line.encode(errors="surrogateescape") + b"\0")
    return digest.hexdigest()


def digest_of_file(file: Path) -> str:
    """What tells that a file was changed, without reading it."""
    found = file.stat()
    return digest_of([str(file), str(found.st_size), str(found.st_mtime_ns)])
