"""Random sizes, priorities, deadlines and hang-ups over a batcher with real threads: PUPIL_FUZZ sets how many."""

import asyncio
import os
import random
import time
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from pupil_server.batching import Batcher
from pupil_server.errors import DeadlineExceeded
from pupil_server.priority import Priority
from pupil_server.session import Outputs

REQUESTS = int(os.environ.get("PUPIL_FUZZ", "4000"))
IN_FLIGHT = 200
MAX_BATCH = 16


class Model:
    """Answers an image with its number, takes its time now and then, and breaks down now and then."""

    def __init__(self, seed: int) -> None:
        self.fate = random.Random(seed)
        self.batches: list[NDArray[np.uint32]] = []

    def predict(self, pixels: NDArray[np.uint8]) -> Outputs:
        numbers = pixels.reshape(len(pixels), 4).copy().view(np.uint32)
        self.batches.append(numbers[:, 0])
        if self.fate.random() < 0.1:
            time.sleep(self.fate.uniform(0, 0.003))
        if self.fate.random() < 0.01:
            raise ZeroDivisionError
        return Outputs(-numbers.astype(np.float64), numbers.astype(np.float64))


class Told:
    """Counts what the batcher tells."""

    def __init__(self) -> None:
        self.gone: Counter[str] = Counter()
        self.images = 0

    def batched(self, images: int, seconds: float) -> None:
        self.images += images

    def started(self, queue_seconds: float) -> None: ...

    def cancelled(self, stage: str) -> None:
        self.gone["cancelled"] += 1

    def expired(self, stage: str) -> None:
        self.gone["expired"] += 1


async def one_request(batcher: Batcher, first: int, count: int, fate: random.Random) -> str:
    """How a request for images first, first + 1, … ended; fails where that is not a fair end."""
    numbers = np.arange(first, first + count, dtype=np.uint32)
    pixels = numbers.view(np.uint8).reshape(count, 1, 1, 4)
    hasty, leaves = fate.random() < 0.15, fate.random() < 0.15
    deadline = time.monotonic() + (fate.uniform(-0.001, 0.02) if hasty else 100)
    priority = fate.choice(list(Priority))
    request = asyncio.create_task(batcher.submit(pixels, deadline, priority))
    if leaves:
        asyncio.get_running_loop().call_later(fate.uniform(0, 0.01), request.cancel)
    try:
        answer = await request
    except asyncio.CancelledError:
        assert leaves
        return "cancelled"
    except DeadlineExceeded:
        assert hasty
        return "expired"
    except ZeroDivisionError:
        return "broken"
    np.testing.assert_array_equal(answer.outputs.scores[:, 0], numbers)
    np.testing.assert_array_equal(answer.outputs.logits[:, 0], -numbers.astype(np.float64))
    return "answered"


@pytest.mark.parametrize(("instances", "max_queue_delay"), [(1, 0.0), (3, 0.0), (2, 0.002)])
def test_no_answer_is_lost_or_swapped_whatever_callers_do(
    instances: int, max_queue_delay: float, caplog: pytest.LogCaptureFixture
) -> None:
    fate, model, told = random.Random(instances), Model(seed=instances), Told()
    ends: Counter[str] = Counter()

    async def storm() -> None:
        batcher = Batcher(
            model.predict,
            max_batch=MAX_BATCH,
            instances=instances,
            observer=told,
            name="fuzz",
            max_queue_delay=max_queue_delay,
        )
        places = asyncio.Semaphore(IN_FLIGHT)

        async def one(first: int) -> None:
            ends[await one_request(batcher, first, fate.choice((1, 1, 1, 2, 5, 40)), fate)] += 1
            places.release()

        async with asyncio.TaskGroup() as requests:
            for number in range(1, REQUESTS // 3 + 1):
                await places.acquire()
                requests.create_task(one(number * 100))
        await batcher.close()

    asyncio.run(asyncio.wait_for(storm(), timeout=60 + REQUESTS / 100))
    assert ends.total() == REQUESTS // 3
    assert min(ends["answered"], ends["cancelled"], ends["expired"], ends["broken"]) > 0
    assert ends["answered"] > REQUESTS // 6
    assert ends["expired"] <= told.gone.total() <= ends["expired"] + ends["cancelled"]
    computed = np.concatenate(model.batches)
    images, times = np.unique(computed, return_counts=True)
    assert images.size
    assert times.max() == 1
    assert max(map(len, model.batches)) <= MAX_BATCH
    assert not caplog.records
