"""From what a caller calls an image to what travels; arrays are recognised without importing NumPy."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

from pupil_client.errors import BadRequest
from pupil_proto.v1 import inference_pb2 as pb

MAX_BATCH_IMAGES = 64
MAX_BATCH_BYTES = 4 << 20


class PixelArray(Protocol):
    """One picture as uint8 pixels, height × width or height × width × channels; a NumPy array is one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def tobytes(self) -> bytes: ...


Image: TypeAlias = bytes | Path | PixelArray  # an encoded file's bytes, the file itself, or its pixels


@dataclass(frozen=True, slots=True)
class RawImage:
    """The bytes of one image, and their shape where they are pixels."""

    data: bytes
    shape: tuple[int, int, int] | None = None


def is_one(images: Image | Sequence[Image]) -> bool:
    """Whether this is an image by itself, not a list of them."""
    return isinstance(images, bytes) or not isinstance(images, Sequence)


def raw_images(images: Image | Sequence[Image]) -> list[RawImage]:
    """Of one image or of several. Raises what `raw_image` raises."""
    if isinstance(images, Sequence) and not isinstance(images, bytes):
        return [raw_image(image) for image in images]
    return [raw_image(images)]


def raw_image(image: Image) -> RawImage:
    """The bytes of an image. Raises `BadRequest` for what is none, and `OSError` for a file that cannot be read."""
    if isinstance(image, bytes):
        return RawImage(image)
    if isinstance(image, Path):
        return RawImage(image.read_bytes())
    if not (hasattr(image, "shape") and hasattr(image, "tobytes")):
        raise BadRequest(f"an image is bytes, a Path or an array of uint8 pixels, not {type(image).__name__}")
    kind = str(getattr(image, "dtype", "uint8"))
    if kind != "uint8":
        raise BadRequest(f"pixels are uint8, from 0 to 255, not {kind}: scaling and normalisation are the model's own")
    shape = tuple(image.shape)
    if len(shape) not in (2, 3):
        raise BadRequest(f"pixels of one image are height × width or height × width × channels, not {_times(shape)}")
    data = image.tobytes()
    if len(data) != math.prod(shape):
        raise BadRequest(
            f"pixels are uint8: {_times(shape)} has {math.prod(shape)} of them, but here are {len(data)} bytes"
        )
    height, width, channels = shape if len(shape) == 3 else (*shape, 1)
    return RawImage(data, (height, width, channels))


def images_message(images: Sequence[RawImage]) -> pb.Images:
    """One request's images: files, or pixels of one size. Raises `BadRequest` for a mixture."""
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        found = ", ".join(sorted("files" if shape is None else _times(shape) for shape in shapes))
        raise BadRequest(f"one request carries files, or pixels of one size, not both: {found}")
    shape = next(iter(shapes), None)
    data = [image.data for image in images]
    if shape is None:
        return pb.Images(encoded=data)
    height, width, channels = shape
    return pb.Images(
        pixels=pb.Pixels(data=b"".join(data), count=len(data), height=height, width=width, channels=channels)
    )


@dataclass
class Packer:
    """Packs a flow of images into requests, bounded in images and bytes; files and pixels never share one."""

    most_images: int = MAX_BATCH_IMAGES
    waiting: list[RawImage] = field(default_factory=list)
    size: int = 0  # bytes that wait

    def add(self, image: RawImage) -> Iterator[pb.Images]:
        """Takes one more image; yields the request that was full before it."""
        if self.waiting and not self._fits(image):
            yield from self.rest()
        self.waiting.append(image)
        self.size += len(image.data)

    def rest(self) -> Iterator[pb.Images]:
        """The request of all that still waits, if anything does."""
        if self.waiting:
            yield images_message(self.waiting)
        self.waiting, self.size = [], 0

    def _fits(self, image: RawImage) -> bool:
        same = self.waiting[0].shape == image.shape
        return same and len(self.waiting) < self.most_images and self.size + len(image.data) <= MAX_BATCH_BYTES


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(str(size) for size in shape)
