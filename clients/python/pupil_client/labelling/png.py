"""Pixels as a PNG file, for a model that wants another size: the server resizes files, not pixels."""

import struct
import zlib

from pupil_client.images import RawImage
from pupil_client.labelling.pictures import Unreadable

COLOURS = {1: 0, 3: 2, 4: 6}  # PNG's number for grey, RGB, RGBA


def png(image: RawImage) -> RawImage:
    """The same picture as a file. Raises Unreadable for a number of channels that no picture has."""
    assert image.shape is not None  # only pixels are turned into files
    height, width, channels = image.shape
    if channels not in COLOURS:
        raise Unreadable(f"{channels} channels; a picture has 1, 3 or 4")
    row = width * channels
    rows = b"".join(b"\0" + image.data[start : start + row] for start in range(0, len(image.data), row))
    header = struct.pack(">IIBBBBB", width, height, 8, COLOURS[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return RawImage(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
