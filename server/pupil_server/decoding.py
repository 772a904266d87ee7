"""The files of one request, decoded into one array on a pool of threads."""

import asyncio
from collections.abc import Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from pupil_server.bundle_facts import InputSize, Resize
from pupil_server.call import Call
from pupil_server.errors import BadImage, DeadlineExceeded
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
