"""Many pictures of one size in one file: NumPy's .npy and .npz, and MNIST's idx, read without NumPy.

A .npy file is a magic number, a version, the length of a Python literal that describes the array, the literal, and
the bytes (NumPy Enhancement Proposal 1); an .npz is a zip of them.
"""

import ast
import gzip
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, NamedTuple, cast

from pupil_client.images import RawImage
from pupil_client.labelling.pictures import MAX_FILE_BYTES, Picture, Source, digest_of_file, one_after_the_other

Open = Callable[[], AbstractContextManager[IO[bytes]]]
NPY = b"\x93NUMPY"
BROKEN = (ValueError, SyntaxError, EOFError, struct.error, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)


class Shape(NamedTuple):
    """How many pictures, and how large."""

    images: int
    height: int
    width: int
    channels: int

    @classmethod
    def of(cls, sizes: tuple[int, ...]) -> "Shape":
        """N×H×W or N×H×W×C. Raises ValueError."""
        if len(sizes) not in (3, 4) or 0 in sizes[1:]:
            raise ValueError(f"pictures are N×H×W or N×H×W×C, not {'×'.join(map(str, sizes)) or 'a number'}")
        shape = cls(*sizes, 1) if len(sizes) == 3 else cls(*sizes)
        if shape.size > MAX_FILE_BYTES:
            raise ValueError(f"pictures of {shape.size:,} bytes; at most {MAX_FILE_BYTES:,} travel in one message")
        return shape

    @property
    def size(self) -> int:
        """Bytes of one picture."""
        return math.prod(self[1:])


def is_idx(path: Path) -> bool:
    """Whether the name says so: `train-images-idx3-ubyte`, gzipped or not."""
    return path.name.removesuffix(".gz").endswith("-ubyte")


def idx_source(file: Path) -> Source:
    """Grey pictures. Raises ValueError, OSError."""
    return _source(file, str(file), _unpacked(file), _idx_sizes)


def npy_source(file: Path) -> Source:
    """A uint8 array of pictures. Raises ValueError, OSError."""
    return _source(file, str(file), lambda: file.open("rb"), _npy_sizes)


def npz_source(file: Path) -> Source:
    """Every array of pictures in the archive; labels and the like are passed over. Raises ValueError, OSError."""
    sources, problem = [], f"{file}: no array in it"
    for name in _members(file):
        try:
            sources.append(_source(file, f"{file}/{name}", _member(file, name), _npy_sizes))
        except ValueError as error:
            problem = str(error)
    if not sources:
        raise ValueError(problem)
    return one_after_the_other(sources)


def _members(file: Path) -> list[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            return [name for name in archive.namelist() if name.endswith(".npy")]
    except zipfile.BadZipFile:
        raise ValueError(f"{file}: not an .npz archive") from None


def _member(file: Path, name: str) -> Open:
    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with zipfile.ZipFile(file) as archive, archive.open(name) as member:
            yield member

    return opened


def _unpacked(file: Path) -> Open:
    if file.suffix == ".gz":
        return lambda: cast(AbstractContextManager[IO[bytes]], gzip.open(file))  # whoever calls does
    return lambda: file.open("rb")


def _source(file: Path, name: str, opened: Open, sizes: Callable[[IO[bytes]], tuple[int, ...]]) -> Source:
    def shape_of(content: IO[bytes]) -> Shape:
        try:
            return Shape.of(sizes(content))
        except BROKEN as error:
            raise ValueError(f"{name}: {error}") from None

    def pictures() -> Iterator[Picture]:
        with opened() as content:
            yield from _pictures(name, content, shape_of(content))

    with opened() as content:
        return Source(digest_of_file(file), shape_of(content).images, pictures)


def _pictures(name: str, content: IO[bytes], shape: Shape) -> Iterator[Picture]:
    size, sides = shape.size, shape[1:]
    for number in range(shape.images):
        try:
            data = content.read(size)
        except BROKEN as error:
            raise ValueError(f"{name}: broken or truncated ({error})") from None
        if len(data) < size:
            raise ValueError(f"{name}: truncated, {shape.images:,} pictures are announced, {number:,} are there")
        yield Picture(f"{name}#{number}", size, RawImage(data, sides))


def _idx_sizes(content: IO[bytes]) -> tuple[int, ...]:
    zero, kind, dimensions = struct.unpack(">HBB", content.read(4))
    if (zero, kind) != (0, 8):
        raise ValueError(f"not an idx file of bytes (it starts with 0x{zero:04x}{kind:02x})")
    return struct.unpack(f">{dimensions}I", content.read(4 * dimensions))


def _npy_sizes(content: IO[bytes]) -> tuple[int, ...]:
    magic, major, _ = struct.unpack("<6sBB", content.read(8))
    if magic != NPY:
        raise ValueError("not a .npy file")
    (length,) = struct.unpack("<H", content.read(2)) if major == 1 else struct.unpack("<I", content.read(4))
    header = ast.literal_eval(content.read(min(length, 65536)).decode("latin-1").strip())
    if header["descr"] not in ("|u1", "<u1", "u1") or header["fortran_order"]:
        raise ValueError(f"pictures are uint8, row by row, not {header['descr']}")
    return tuple(header["shape"])
