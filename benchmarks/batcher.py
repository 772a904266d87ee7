"""CPU time that the batcher itself takes a request: a model that does nothing, one image a request.

python benchmarks/batcher.py
"""

import asyncio
import statistics
import time

import numpy as np
from numpy.typing import NDArray

from pupil_server.batching import Batcher
from pupil_server.session import Outputs

ROUNDS = 7
SCORES = np.zeros((64, 10), np.float32)
IMAGE = np.zeros((1, 28, 28, 1), np.uint8)


class Silent:
    """Hears what the batcher tells, and does nothing with it."""

    def batched(self, images: int, seconds: float) -> None: ...
    def started(self, queue_seconds: float, requests: int = 1) -> None: ...
    def cancelled(self, stage: str) -> None: ...
    def expired(self, stage: str) -> None: ...


def predict(pixels: NDArray[np.uint8]) -> Outputs:
    return Outputs(SCORES[: len(pixels)], SCORES[: len(pixels)])


async def measure(in_flight: int, requests: int) -> None:
    batcher = Batcher(predict, max_batch=64, instances=1, observer=Silent(), name="bench")

    async def caller(times: int) -> None:
        for _ in range(times):
            await batcher.submit(IMAGE, time.monotonic() + 10)

    await caller(200)
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        await asyncio.gather(*(caller(requests // in_flight) for _ in range(in_flight)))
        found.append((time.process_time() - start) / requests * 1e6)
    await batcher.close()
    print(f"{in_flight:3} in flight: {statistics.median(found):5.1f} µs a request", flush=True)


for in_flight, requests in ((1, 2000), (8, 8000), (64, 16_000)):
    asyncio.run(measure(in_flight, requests))
