"""The images of a request to one model: counted first, then read."""

import time

import numpy as np
from numpy.typing import NDArray

from pupil_proto.v1.inference_pb2 import Images
from pupil_server.bundle_facts import BundleFacts
from pupil_server.call import Call
from pupil_server.decoding import Decoder, count, pixels_array
from pupil_server.errors import BadImage, BadRequest


class Reader:
    """Takes at most `most` images a request."""

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
            return pixels_array(images.pixels, self._size), {}
        began = time.monotonic()
        pixels, broken = await self._decoder.decode(files, self._size, self._resize, call)
        if call.trace:
            call.trace.step("decode", began, time.monotonic(), images=len(files))
        return pixels, broken
