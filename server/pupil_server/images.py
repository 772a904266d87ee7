"""File bytes to the pixels that a model wants, and a refusal for everything else."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pupil_server.bundle import InputSize, Resize
from pupil_server.errors import BadImage

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
INTERPOLATION = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

Image.MAX_IMAGE_PIXELS = None  # Pillow only warns; `Limits` is checked on the header instead, before pixels exist


@dataclass(frozen=True)
class Limits:
    """What one image may cost."""

    file_bytes: int
    pixels: int


def decode(data: bytes, size: InputSize, resize: Resize, limits: Limits) -> NDArray[np.uint8]:
    """Pixels (H, W, C) of one image file, by the rule of docs/files.md that training follows too.

    Raises BadImage: not an image, a format that is not offered, too large, truncated.
    """
    if not data:
        raise BadImage("no bytes")
    if len(data) > limits.file_bytes:
        raise BadImage(f"{len(data):,} bytes, at most {limits.file_bytes:,} are allowed")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > limits.pixels:
                raise BadImage(f"{image.width} × {image.height} pixels, at most {limits.pixels:,} are allowed")
            upright = ImageOps.exif_transpose(image)
            upright.info.pop("transparency", None)  # Pillow would drop it too, with a warning
            coloured = upright.convert("L" if size.channels == 1 else "RGB")
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise BadImage(f"not a {', '.join(FORMATS)} file (it starts with {data[:8]!r})") from None
    except Exception as error:  # Pillow's decoders raise a dozen types for broken files
        raise BadImage(f"broken or truncated ({error})") from error
    fitted = _crop(_shrink(coloured, resize, limits), size)
    return np.asarray(fitted, dtype=np.uint8).reshape(size.height, size.width, size.channels)


def _shrink(image: Image.Image, resize: Resize, limits: Limits) -> Image.Image:
    """The shorter side becomes `shortest_side`, the other one follows in proportion."""
    shorter = min(image.size)
    if shorter == resize.shortest_side:
        return image
    width, height = (max(resize.shortest_side, round(side * resize.shortest_side / shorter)) for side in image.size)
    if width * height > limits.pixels:  # a line of 1 × 25,000,000 pixels passes the header's check and grows here
        raise BadImage(f"{image.width} × {image.height} pixels are too far from a square to be resized")
    return image.resize((width, height), INTERPOLATION[resize.interpolation])


def _crop(image: Image.Image, size: InputSize) -> Image.Image:
    left, top = (image.width - size.width) // 2, (image.height - size.height) // 2
    return image.crop((left, top, left + size.width, top + size.height))
