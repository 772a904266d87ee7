"""Turns concurrent requests into batches. It knows nothing of images but their first axis."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pupil_server.errors import DeadlineExceeded, Unavailable
from pupil_server.session import Outputs

Predict = Callable[[NDArray[np.uint8]], Outputs]


class BatchObserver(Protocol):
    """What a batcher tells of itself while it works."""

    def batched(self, images: int, seconds: float) -> None: ...
    def started(self, queue_seconds: float) -> None: ...
    def cancelled(self, stage: str) -> None: ...
    def expired(self, stage: str) -> None: ...


class Answer(NamedTuple):
    """Logits and scores (N, K) of one request, how long it waited and how long its batches took, in seconds."""

    outputs: Outputs
    queue_seconds: float
    compute_seconds: float


@dataclass(slots=True, eq=False)
class Work:
    """One request in the queue: its images, what is answered so far, and who waits for it."""

    pixels: NDArray[np.uint8]  # (N, H, W, C)
    deadline: float
    answer: asyncio.Future[Answer]
    arrived: float
    taken: int = 0
    done: int = 0
    queue_seconds: float = 0.0
    compute_seconds: float = 0.0
    parts: dict[int, Outputs] = field(default_factory=dict)  # by their first row: two instances may finish out of order

    def finish(self, first: int, outputs: Outputs, seconds: float) -> None:
        self.parts[first] = outputs
        self.done += len(outputs.logits)
        self.compute_seconds += seconds
        if self.done == len(self.pixels) and not self.answer.done():
            parts = [self.parts[start] for start in sorted(self.parts)]
            whole = (
                parts[0]
                if len(parts) == 1
                else Outputs(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
            )
            self.answer.set_result(Answer(whole, self.queue_seconds, self.compute_seconds))

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Slice(NamedTuple):
    """Rows first:last of one request, inside one batch."""

    work: Work
    first: int
    last: int


class Batcher:
    """Whatever queued up while the model was busy is the next batch.

    There is no timer: an idle server answers at once, a busy one fills its batches by itself. A batch counts
    images, not requests; a request larger than a batch is split, takes turns with the others, and is put
    together again in order. Who hung up or ran out of time is dropped before the model sees it, and disturbs
    nobody after that.
    """

    def __init__(self, predict: Predict, *, max_batch: int, instances: int, observer: BatchObserver, name: str) -> None:
        self._predict = predict
        self._max_batch = max_batch
        self._observer = observer
        self._queue: deque[Work] = deque()  # bounded by `Admission`, at whose door every image is counted
        self._filled = asyncio.Event()
        self._closed = False
        self._threads = ThreadPoolExecutor(instances, thread_name_prefix=name)
        self._runners = [asyncio.create_task(self._run(), name=f"{name}-{i}") for i in range(instances)]

    async def submit(self, pixels: NDArray[np.uint8], deadline: float) -> Answer:
        """The model's answer for `pixels` (N, H, W, C), N at least 1; `deadline` is on time.monotonic's clock."""
        if self._closed:
            raise Unavailable("the model was unloaded; try again")
        work = Work(pixels, deadline, asyncio.get_running_loop().create_future(), time.monotonic())
        self._queue.append(work)
        self._filled.set()
        return await work.answer

    async def close(self) -> None:
        """Stops at once: whoever still waits hears Unavailable."""
        self._closed = True
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)
        self._runners.clear()  # a cancelled task remembers where: its frame, this batcher, the session; a cycle
        while self._queue:
            self._queue.popleft().fail(Unavailable("the model was unloaded; try again"))
        await asyncio.to_thread(self._threads.shutdown)

    async def _run(self) -> None:
        """Serves batches until cancelled; one of these an instance."""
        while True:
            batch = await self._next_batch()
            try:
                await self._serve(batch)
            except asyncio.CancelledError:
                self._fail(batch, Unavailable("the model was unloaded; try again"))
                raise
            except Exception as error:  # whatever went wrong, everyone in the batch hears it, and the next one runs
                self._fail(batch, error)

    async def _serve(self, batch: list[Slice]) -> None:
        pixels = [part.work.pixels[part.first : part.last] for part in batch]
        images = pixels[0] if len(pixels) == 1 else np.concatenate(pixels)
        loop = asyncio.get_running_loop()
        outputs, seconds = await loop.run_in_executor(self._threads, _timed, self._predict, images)
        if len(outputs.logits) != len(images):
            raise RuntimeError(f"{len(images)} images went into the model, {len(outputs.logits)} answers came out")
        self._observer.batched(len(images), seconds)
        row = 0
        for work, first, last in batch:
            rows = slice(row, row + last - first)
            row = rows.stop
            self._gone(work, "inference")
            work.finish(first, Outputs(outputs.logits[rows], outputs.scores[rows]), seconds)

    async def _next_batch(self) -> list[Slice]:
        while not (batch := self._draw()):  # everyone in the queue may have gone
            self._filled.clear()
            await self._filled.wait()
        return batch

    def _draw(self) -> list[Slice]:
        batch: list[Slice] = []
        room, now = self._max_batch, time.monotonic()
        for _ in range(len(self._queue)):
            if not room:
                break
            work = self._queue.popleft()
            if self._gone(work, "queue"):
                continue
            first, work.taken = work.taken, min(len(work.pixels), work.taken + room)
            if first == 0:
                work.queue_seconds = now - work.arrived
                self._observer.started(work.queue_seconds)
            if work.taken < len(work.pixels):
                self._queue.append(work)  # behind the others: a huge request takes turns
            room -= work.taken - first
            batch.append(Slice(work, first, work.taken))
        return batch

    def _gone(self, work: Work, stage: str) -> bool:
        """Whether nobody waits for this any more; says so to the metrics, once."""
        if work.answer.done() and not work.answer.cancelled():
            return True  # one of its batches failed: its caller has heard
        if work.deadline <= time.monotonic():
            work.fail(DeadlineExceeded(f"the deadline passed (stage: {stage})"))
            self._observer.expired(stage)
            return True
        if work.answer.cancelled():
            self._observer.cancelled(stage)
            return True
        return False

    @staticmethod
    def _fail(batch: list[Slice], error: Exception) -> None:
        for part in batch:
            part.work.fail(error)


def _timed(predict: Predict, images: NDArray[np.uint8]) -> tuple[Outputs, float]:
    start = time.perf_counter()
    outputs = predict(images)
    return outputs, time.perf_counter() - start
