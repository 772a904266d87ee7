"""A set of images in memory."""

import hashlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class ImageSet:
    """One split, every picture already at the model's input size."""

    images: Tensor  # uint8 (N, H, W, C)
    labels: Tensor | None  # int64 (N,), places in `classes`; None where nobody labelled
    classes: tuple[str, ...]
    sha256: str  # over the files' bytes and labels, in order; the input size does not matter
    digests: tuple[str, ...]  # SHA-256 of each image's own bytes
    encoded: Callable[[int], bytes] = field(repr=False)  # the i-th picture as a file, before resizing
    skipped: tuple[str, ...] = ()  # files that could not be read, with the reason

    def __len__(self) -> int:
        return len(self.images)


def set_sha256(digests: Iterable[tuple[str, str]]) -> str:
    """The SHA-256 of a set from each image's own SHA-256 and label ("" for none)."""
    whole = hashlib.sha256()
    for digest, label in digests:
        whole.update(f"{digest} {label}\n".encode())
    return whole.hexdigest()


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A lossless file of grey (H, W) or RGB (H, W, 3) pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
