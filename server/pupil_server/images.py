"""File bytes to the pixels that a model wants, and a refusal for everything else.

Files come from strangers, so what a header promises is checked before Pillow keeps the promise. Three of Pillow's
switches are process-wide; they are set here and nowhere else.
"""

import io
import struct
import warnings
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from pupil_server.bundle_facts import InputSize, Resize
from pupil_server.errors import BadImage
from pupil_server.settings import MEGA, ServerSettings

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
INTERPOLATION = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # of 8 bits or fewer
DEEP = ("I;16", "I;16B")  # grey of 16 or 12 bits
MOST_READS = 100_000  # of one file; a PNG of 16 MB in the usual chunks takes 6,000
MOST_SCANS = 100  # of one JPEG; a progressive photograph has ten, and each costs a pass over all its pixels

# A broken file is its sender's news, told in our words; Python would also remember each distinct warning for ever.
warnings.filterwarnings("ignore", module=r"PIL\.")
TiffImagePlugin.READ_LIBTIFF = True  # Pillow's own reader makes objects of every strip before the size can be checked


@dataclass(frozen=True)
class Limits:
    """What one image may cost."""

    file_bytes: int
    pixels: int

    @classmethod
    def of(cls, settings: ServerSettings) -> Self:
        return cls(settings.max_image_mb * MEGA, int(settings.max_megapixels * MEGA))


def decode(data: bytes, size: InputSize, resize: Resize, limits: Limits) -> NDArray[np.uint8]:
    """Pixels (H, W, C) of one image file, by the rule of docs/files.md that training follows too.

    Raises BadImage: not an image, a format that is not offered, too large, truncated.
    """
    if not data:
        raise BadImage("no bytes")
    if len(data) > limits.file_bytes:
        raise BadImage(f"{len(data):,} bytes, at most {limits.file_bytes:,} are allowed")
    Image.MAX_IMAGE_PIXELS = limits.pixels  # Pillow opens nothing of twice as many; it fills a GIF's frame as it opens
    try:
        with Image.open(_File(data), formats=FORMATS) as image:
            _check_header(image, data, resize, limits)
            image.load()
            _turn_upright(image)
            coloured = _in_colours(image, "L" if size.channels == 1 else "RGB")
    except (BadImage, MemoryError):
        raise
    except UnidentifiedImageError:
        raise BadImage(f"not a {', '.join(FORMATS)} file (it starts with {data[:8]!r})") from None
    except Image.DecompressionBombError:
        raise BadImage(f"more than {2 * limits.pixels:,} pixels, at most {limits.pixels:,} are allowed") from None
    except Exception as error:  # Pillow's decoders raise a dozen types for broken files; their texts stay here
        raise BadImage("broken or truncated") from error
    fitted = _crop(_shrink(coloured, resize), size)
    return np.asarray(fitted, dtype=np.uint8).reshape(size.shape)


class _File(io.BytesIO):
    """Bytes that end Pillow's patience: each of its loops over chunks, segments or tags in Python reads as it goes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > MOST_READS:
            raise BadImage(f"more than {MOST_READS:,} chunks; save it again")
        return super().read(size)


def _check_header(image: Image.Image, data: bytes, resize: Resize, limits: Limits) -> None:
    """Raises BadImage where decoding would take more memory or time than an honest file of so many pixels."""
    found = f"{image.width} × {image.height} pixels"
    if image.width * image.height > limits.pixels:
        raise BadImage(f"{found}, at most {limits.pixels:,} are allowed")
    width, height = _shrunk(image.size, resize)
    if width * height > limits.pixels:  # a line of 1 × 25,000,000 pixels is few pixels, and grows when it is resized
        raise BadImage(f"{found} are too far from a square to be resized")
    if image.format in ("JPEG", "MPO") and (scans := _scans(data)) > MOST_SCANS:
        raise BadImage(f"{scans:,} scans, at most {MOST_SCANS} are allowed; save it again")
    if any(tile.codec_name == "bmp_rle" for tile in getattr(image, "tile", ())):  # decoded in Python, byte by byte
        raise BadImage("a compressed BMP; save it without compression")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_tiles(image, data, limits)


def _scans(data: bytes) -> int:
    """Of a JPEG, by the marker that begins each. `bytes.count` takes six times as long for two bytes."""
    each = np.frombuffer(data, np.uint8)
    return int(np.count_nonzero((each[:-1] == 0xFF) & (each[1:] == 0xDA)))


def _check_tiles(image: TiffImagePlugin.TiffImageFile, data: bytes, limits: Limits) -> None:
    """A TIFF's tiles reach beyond its edges: one pixel may lie in a tile of a gigabyte."""
    tags = image.tag_v2
    order = "<" if tags.prefix == b"II" else ">"
    (count,) = struct.unpack_from(f"{order}H", data, tags.offset)
    entries = struct.iter_unpack(f"{order}H10x", data[tags.offset + 2 : tags.offset + 2 + 12 * count])
    if data[2:4] in (b"+\0", b"\0+") or len({tag for (tag,) in entries}) < count:
        # Of a tag that is there twice, libtiff may take the one that Pillow did not.
        raise BadImage("a BigTIFF, or a TIFF whose tags repeat; save it again")
    wide, high = tags.get(TiffImagePlugin.TILEWIDTH, 1), tags.get(TiffImagePlugin.TILELENGTH, 1)
    pixels = -(-image.width // wide) * wide * -(-image.height // high) * high
    if pixels > limits.pixels:
        raise BadImage(f"tiles of {wide} × {high} make it {pixels:,} pixels, at most {limits.pixels:,} are allowed")


def _turn_upright(image: Image.Image) -> None:
    """By its EXIF orientation; EXIF that makes no sense is as good as none."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:
        return


def _in_colours(image: Image.Image, mode: str) -> Image.Image:
    """Grey or RGB of 8 bits. Raises BadImage for numbers of which nobody can tell which one is white."""
    image.info.pop("transparency", None)  # Pillow would drop it too, with a warning
    if image.mode in DEEP:
        image = _eight_bits(image)
    elif image.mode not in MODES:
        raise BadImage(f"pixels of the kind {image.mode}; save it with 8 or 16 bits, grey or RGB")
    return image if image.mode == mode else image.convert(mode)  # which would copy all its pixels


def _eight_bits(image: Image.Image) -> Image.Image:
    """The highest 8 bits of each pixel; Pillow's own conversion makes everything above 255 white."""
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    (bits,) = tags.get(TiffImagePlugin.BITSPERSAMPLE, (16,))
    grey = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    white_is_zero = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
    return Image.fromarray(~grey if white_is_zero else grey)


def _shrunk(size: tuple[int, int], resize: Resize) -> tuple[int, int]:
    """The shorter side becomes `shortest_side`, the other one follows in proportion."""
    shorter = min(size)
    width, height = (max(resize.shortest_side, round(side * resize.shortest_side / shorter)) for side in size)
    return width, height


def _shrink(image: Image.Image, resize: Resize) -> Image.Image:
    if min(image.size) == resize.shortest_side:
        return image
    return image.resize(_shrunk(image.size, resize), INTERPOLATION[resize.interpolation])


def _crop(image: Image.Image, size: InputSize) -> Image.Image:
    left, top = (image.width - size.width) // 2, (image.height - size.height) // 2
    return image.crop((left, top, left + size.width, top + size.height))
