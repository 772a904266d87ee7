"""The images of one request, from the wire to one array, on a pool of threads."""

import asyncio
import math
from collections.abc import Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pupil_proto.v1.inference_pb2 import Images, Pixels
from pupil_server.bundle_facts import InputSize, Resize
from pupil_server.call import Call
from pupil_server.errors import BadImage, BadRequest, DeadlineExceeded
from pupil_server.images import Limits, decode
from pupil_server.metrics import Metrics
from pupil_server.priority import Priority


class Decoder:
    """Decodes for every model; Pillow lets go of the GIL, so the threads really run side by side.

    The threads take files in the order in which they come, but bulk brings no more of them at a time than there are
    threads: an interactive file waits for a few others, not for a pool of them.
    """

    def __init__(self, limits: Limits, *, threads: int, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._bulk_places = asyncio.Semaphore(threads)

    async def decode(
        self, encoded: Sequence[bytes], size: InputSize, resize: Resize, call: Call
    ) -> tuple[NDArray[np.uint8], dict[int, BadImage]]:
        """The pixels (N, H, W, C) of the files that can be read, in order, and why not of the others by their place.

        Files of a call that is out of time stay closed.
        """
        pixels = np.empty((len(encoded), *size.shape), np.uint8)
        start = self._start_in_turn if call.priority is Priority.BULK else self._start
        with self._metrics.decode_seconds.time():
            files = zip(encoded, pixels, strict=True)
            errors = await asyncio.gather(*(start(file, row, size, resize, call) for file, row in files))
        broken = {place: error for place, error in enumerate(errors) if error}
        return np.delete(pixels, list(broken), axis=0) if broken else pixels, broken

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    def _start(
        self, file: bytes, row: NDArray[np.uint8], size: InputSize, resize: Resize, call: Call
    ) -> Awaitable[BadImage | None]:
        run = asyncio.get_running_loop().run_in_executor
        return run(self._threads, self._decode, file, row, size, resize, call)

    async def _start_in_turn(
        self, file: bytes, row: NDArray[np.uint8], size: InputSize, resize: Resize, call: Call
    ) -> BadImage | None:
        async with self._bulk_places:
            return await self._start(file, row, size, resize, call)

    def _decode(
        self, file: bytes, row: NDArray[np.uint8], size: InputSize, resize: Resize, call: Call
    ) -> BadImage | None:
        try:
            call.require_time()
            row[...] = decode(file, size, resize, self._limits)
        except DeadlineExceeded:
            self._metrics.expired.labels("decode").inc()
            raise
        except BadImage as error:
            return BadImage(str(error))  # a new one: this one's trace holds what was made of the file
        return None


def count(images: Images) -> int:
    """How many images a request says that it carries; raises BadRequest for none, or for both forms at once."""
    files, pixels = len(images.encoded), images.HasField("pixels")
    if files and pixels:
        raise BadRequest("images: both encoded and pixels; send one of them")
    counted = images.pixels.count if pixels else files
    if not counted:
        raise BadRequest("images: none; send encoded files or pixels")
    return counted


def pixels_array(pixels: Pixels, size: InputSize) -> NDArray[np.uint8]:
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
