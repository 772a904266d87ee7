"""A batcher around a model that can be held busy, for its tests."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pupil_server.batching import Batcher
from pupil_server.session import Outputs
from pupil_server.work import Answer

FAR = 1e9  # a deadline that no test reaches


class Observed:
    """What the batcher told."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.gone: list[tuple[str, str]] = []

    def batched(self, images: int, seconds: float) -> None:
        self.batches.append(images)

    def started(self, queue_seconds: float) -> None:
        assert queue_seconds >= 0

    def cancelled(self, stage: str) -> None:
        self.gone.append(("cancelled", stage))

    def expired(self, stage: str) -> None:
        self.gone.append(("expired", stage))


class Model:
    """Answers each image with its own first two pixels, and can be held busy."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()
        self.entered = threading.Event()
        self.fails = False
        self.seconds = 0.0
        self.rows: list[int] = []
        self.on_the_loop: list[bool] = []

    def predict(self, pixels: NDArray[np.uint8]) -> Outputs:
        self.rows.append(len(pixels))
        self.on_the_loop.append(threading.current_thread() is threading.main_thread())
        self.entered.set()
        time.sleep(self.seconds)
        assert self.free.wait(timeout=30)
        if self.fails:
            raise RuntimeError("the model broke")
        flat = pixels.reshape(len(pixels), -1)[:, :2].astype(np.float32)
        return Outputs(flat, flat)


def image(number: int, count: int = 1) -> NDArray[np.uint8]:
    """`count` images that nobody else sends: their first two pixels spell number, number + 1, …"""
    numbers = np.arange(number, number + count)
    return np.stack([numbers // 256, numbers % 256], axis=1).astype(np.uint8).reshape(count, 1, 2, 1)


def spelled(answer: Answer) -> list[int]:
    return [int(high) * 256 + int(low) for high, low in answer.outputs.scores]


Test = Callable[[Batcher, Model, Observed], Awaitable[None]]


def with_batcher(test: Test, *, max_batch: int = 8, instances: int = 1, **options: Any) -> None:
    async def run() -> None:
        model, observed = Model(), Observed()
        batcher = Batcher(
            model.predict, max_batch=max_batch, instances=instances, observer=observed, name="test", **options
        )
        try:
            async with asyncio.timeout(60):
                await test(batcher, model, observed)
        finally:
            model.free.set()
            await batcher.close()

    asyncio.run(run())


async def busy(batcher: Batcher, model: Model) -> asyncio.Task[Answer]:
    """Holds the model busy with image 0; nothing else gets in until `model.free` is set."""
    model.free.clear()
    first = asyncio.create_task(batcher.submit(image(0), FAR))
    await asyncio.to_thread(model.entered.wait)
    return first


def submit(batcher: Batcher, *numbers: int, deadline: float = FAR) -> list[asyncio.Task[Answer]]:
    return [asyncio.create_task(batcher.submit(image(number), deadline)) for number in numbers]
