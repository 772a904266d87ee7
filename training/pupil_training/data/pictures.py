"""One picture of a data set, wherever it is kept: not read before somebody asks."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pupil_training.preprocess import Preprocess


class Read(NamedTuple):
    """What one look at a picture gives."""

    sha256: str  # of its own bytes
    pixels: NDArray[np.uint8] | None  # (H, W, C) at the model's input size; None where nobody asked for them


class Picture(Protocol):
    """Small enough to be sent to another process, which reads it there."""

    @property
    def name(self) -> str: ...

    def read(self, preprocess: Preprocess | None) -> Read:
        """The digest, and the pixels by `preprocess`. Raises UnreadableImage, OSError."""
        ...

    def encoded(self) -> bytes:
        """The picture as a file, before resizing."""
        ...


@dataclass(frozen=True, slots=True)
class FilePicture:
    """An image file; its bytes are the file's."""

    name: str  # the path

    def read(self, preprocess: Preprocess | None) -> Read:
        file = self.encoded()
        pixels = None if preprocess is None else preprocess.decode(file)
        return Read(hashlib.sha256(file).hexdigest(), pixels)

    def encoded(self) -> bytes:
        try:
            return Path(self.name).read_bytes()
        except OSError as error:
            error.filename = self.name  # a disk that fails does not say which file it is about
            raise


@dataclass(frozen=True, slots=True, eq=False)
class PixelPicture:
    """Pixels (H, W) or (H, W, 3) out of a file that holds many pictures; its bytes are theirs, row by row."""

    name: str
    pixels: NDArray[np.uint8]

    def read(self, preprocess: Preprocess | None) -> Read:
        digest = hashlib.sha256(self.pixels.tobytes()).hexdigest()
        return Read(digest, None if preprocess is None else self._fit(preprocess))

    def encoded(self) -> bytes:
        return png(self.pixels)

    def _fit(self, preprocess: Preprocess) -> NDArray[np.uint8]:
        height, width, *colours = self.pixels.shape
        ours = (height, width, colours[0] if colours else 1, min(height, width))
        if ours == (preprocess.height, preprocess.width, preprocess.channels, preprocess.shortest_side):
            return self.pixels.reshape(ours[:3])
        return preprocess.fit(Image.fromarray(self.pixels))


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A lossless file of grey (H, W) or RGB (H, W, 3) pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
