"""The images of a request: counted first, then read, from the wire to one array."""

import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pupil_proto.v1.inference_pb2 import Images, Pixels
from pupil_server.bundle_facts import BundleFacts, InputSize
from pupil_server.call import Call
from pupil_server.decoding import Decoder
from pupil_server.errors import BadImage, BadRequest


class Reader:
    """For one model, and at most `most` images a request."""

    def __init__(self, decoder: Decoder, facts: BundleFacts, *, most: int) -> None:
        self.most = most
        self._decoder = decoder
        self._size, self._resize = facts.input, facts.resize

    def counted(self, images: Images) -> tuple[int, list[bytes]]:
        """How many images a request carries, and the encoded ones. Too many of them are never made objects of."""
        number = count(images)
        self.require_few(number)
        return number, [] if images.HasField("pixels") else list(images.encoded)

    def require_few(self, images: int) -> None:
        if images > self.most:
            raise BadRequest(f"{images:,} images in one request, at most {self.most:,} are allowed; send fewer")

    async def read_all(self, images: Images, files: list[bytes], call: Call) -> NDArray[np.uint8]:
        """The pixels (N, H, W, C) of every image. Raises BadImage for the first that cannot be read."""
        pixels, broken = await self.read(images, files, call)
        for place, image in broken.items():
            raise BadImage(f"image {place + 1} of {len(files)}: {image}")
        return pixels

    async def read(
        self, images: Images, files: list[bytes], call: Call
    ) -> tuple[NDArray[np.uint8], dict[int, BadImage]]:
        """The pixels (N, H, W, C) of the images that can be read, and why not for the others by their place."""
        if not files:
            return _raw_pixels(images.pixels, self._size), {}
        began = time.monotonic()
        pixels, broken = await self._decoder.decode(files, self._size, self._resize, call)
        if call.trace:
            call.trace.step("decode", began, time.monotonic(), images=len(files))
        return pixels, broken


def count(images: Images) -> int:
    """How many images a request says that it carries; raises BadRequest for none, or for both forms at once."""
    files, pixels = len(images.encoded), images.HasField("pixels")
    if files and pixels:
        raise BadRequest("images: both encoded and pixels; send one of them")
    counted = images.pixels.count if pixels else files
    if not counted:
        raise BadRequest("images: none; send encoded files or pixels")
    return counted


def _raw_pixels(pixels: Pixels, size: InputSize) -> NDArray[np.uint8]:
    """The raw form as (N, H, W, C), without a copy; raises BadRequest where the size is not the model's."""
    count, found = pixels.count, (pixels.height, pixels.width, pixels.channels)
    if found != size.shape:
        raise BadRequest(
            f"pixels: {_spell(found)}, the model wants {_spell(size.shape)}; resize, or send encoded files"
        )
    expected = count * math.prod(size.shape)
    data = pixels.data  # every look at it copies
    if len(data) != expected:
        raise BadRequest(f"pixels: {len(data):,} bytes, {count} × {_spell(found)} take {expected:,}")
    return np.frombuffer(data, np.uint8).reshape(count, *size.shape)


def whole_pixels(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Flat numbers as uint8. Raises BadRequest unless nothing is lost: the graph wants pixels, not normalised ones."""
    if values.dtype == np.uint8:
        return values
    with np.errstate(invalid="ignore"):  # what does not fit becomes anything, and so differs
        pixels = values.astype(np.uint8)
    same = pixels == values
    if not same.all():
        wrong = values[int(same.argmin())]
        raise BadRequest(f"images: {wrong:g} among the pixels; whole numbers from 0 to 255 are wanted, unnormalised")
    return pixels


def _spell(shape: tuple[int, int, int]) -> str:
    return "×".join(str(side) for side in shape)
