"""Pixels and weights as pictures inside the page."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LARGEST = 160  # pixels, the longer side of a picture in the page
TINY = 64  # up to here pixels are kept as they are, and shown as squares
FOR, AGAINST = (194, 94, 36), (47, 109, 158)  # weights above and below zero; both read well on light and on dark


def picture(pixels: NDArray[np.uint8]) -> str:
    """A data URI of pixels (H, W, 1) or (H, W, 3): lossless where the picture is tiny, a small JPEG where not."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if max(image.size) <= TINY:
        return _uri(image, "PNG")
    image.thumbnail((LARGEST, LARGEST))
    return _uri(image, "JPEG", quality=85)


def weights_picture(weights: NDArray[np.float32], largest: float) -> str:
    """A data URI of weights (C, h, w), of which none is larger than `largest`.

    Of one channel: orange where a bright pixel speaks for, blue where it speaks against, nothing at zero. Of three
    channels: colours, grey at zero. Of other numbers of channels: their mean.
    """
    unit = weights / max(largest, 1e-12)
    if len(unit) == 3:
        return _uri(Image.fromarray((127.5 + 127.5 * unit).round().astype(np.uint8).transpose(1, 2, 0)), "PNG")
    plane = unit.mean(axis=0)[..., np.newaxis]
    colours = np.where(plane > 0, np.array(FOR), np.array(AGAINST))
    opacity = 255 * np.abs(plane)  # so that zero is whatever colour the page has
    return _uri(Image.fromarray(np.concatenate([colours, opacity], axis=2).round().astype(np.uint8)), "PNG")


def _uri(image: Image.Image, kind: str, **settings: int) -> str:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
