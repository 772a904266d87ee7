"""Turns concurrent requests into batches. It knows nothing of images but their first axis."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pupil_server.alarm import NEVER, Alarm
from pupil_server.eager import EagerFuture
from pupil_server.errors import DeadlineExceeded, Unavailable
from pupil_server.pace import Pace
from pupil_server.priority import Priority
from pupil_server.queue import Queue
from pupil_server.session import Outputs
from pupil_server.turn import Stage, this_turn
from pupil_server.work import Answer, Batch, Work

Predict = Callable[[NDArray[np.uint8]], Outputs]
ON_THE_LOOP = 0.001  # seconds; for less, a thread is not worth the waiting for Python's lock, before it and after it
ON_ONE_CORE = 0.004  # where a thread would compute instead of the loop, not beside it; who waits has patience for this
LOOK_EVERY = 0.005  # seconds between two looks for those who ran out of time: who is late hears it that late at most


class BatchObserver(Protocol):
    """What a batcher tells of itself while it works."""

    def batched(self, images: int, seconds: float) -> None: ...
    def started(self, queue_seconds: float, requests: int = 1) -> None: ...
    def cancelled(self, stage: str) -> None: ...
    def expired(self, stage: str) -> None: ...


def longest_on_the_loop(cores: int) -> float:
    """The seconds below which a batch runs there."""
    return ON_THE_LOOP if cores > 1 else ON_ONE_CORE


class Batcher:
    """Whatever queued up while the model was busy is the next batch.

    By default there is no window: an idle server answers at once, a busy one fills its batches by itself, as far as
    larger ones are no slower an image. A batch counts images, not requests; a request larger than a batch is split,
    takes turns with the others, and is put together again in order. Who hangs up or runs out of time leaves at once,
    wherever the request is, and disturbs nobody.
    """

    def __init__(
        self,
        predict: Predict,
        *,
        max_batch: int,
        instances: int,
        observer: BatchObserver,
        name: str,
        max_queue_delay: float = 0.0,
        on_the_loop: float = ON_THE_LOOP,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._predict = predict
        self._max_batch = max_batch
        self._max_queue_delay = max_queue_delay
        self._on_the_loop = on_the_loop  # seconds, below which a batch runs there; 0 for a model that may hang
        self._clock = clock  # of what a batch costs: the thread's own where it computes, and does not only wait
        self._observer = observer
        self._queue = Queue()
        self._pace = Pace()
        self._running: set[Batch] = set()
        self._instances = instances
        self._awake = False  # whether _start_batches is about to be called
        self._expiry = Alarm(pause=LOOK_EVERY)
        self._window = Alarm()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._turn = this_turn()
        self._threads = ThreadPoolExecutor(instances, thread_name_prefix=name)

    async def submit(
        self, pixels: NDArray[np.uint8], deadline: float, priority: Priority = Priority.INTERACTIVE
    ) -> Answer:
        """The model's answer for `pixels` (N, H, W, C), N at least 1; `deadline` is on time.monotonic's clock."""
        if self._closed:
            raise Unavailable("the model was unloaded; try again")
        work = Work(pixels, deadline, priority, EagerFuture(loop=self._loop), time.monotonic())
        self._queue.put(work)
        self._expiry.set(deadline, self._drop_late)
        self._wake()
        try:
            return await work.answer
        except asyncio.CancelledError:
            self._forget(work)
            raise

    def room_now(self, images: int, since: float) -> int:
        """How many of `images`, at least 1, `run_now` would take: none where others wait or run, or on the loop, which
        has been kept since `since`, is no time for them.
        """
        if self._closed or self._queue.images or self._running or self._max_queue_delay:
            return 0
        images = self._next_size(images)
        return images if self._pace.usual(images) + time.monotonic() - since < self._on_the_loop else 0

    def run_now(self, pixels: NDArray[np.uint8], requests: int, arrived: float) -> Answer:
        """The answer to so many requests together, here and now. Raises what the model does, then counts nothing."""
        waited = time.monotonic() - arrived
        outcome, seconds, cost = self._compute(lambda: pixels)
        if isinstance(outcome, Exception):
            raise outcome
        self._measured(len(pixels), seconds, cost)
        self._observer.started(waited, requests)
        return Answer(outcome, pixels, waited, seconds)

    async def close(self) -> None:
        """Stops at once: whoever still waits hears Unavailable."""
        self._closed = True
        self._expiry.clear()
        self._window.clear()
        for work in self._unanswered():
            self._fail(work, Unavailable("the model was unloaded; try again"))
        await asyncio.to_thread(self._threads.shutdown)

    # Batches

    def _wake(self) -> None:
        """Starts batches when this turn of the loop ends: what arrives in it shares them."""
        if self._queue.images and not self._awake and len(self._running) < self._instances:
            self._awake = True
            self._turn.at_end(Stage.RUN, self._start_batches)

    def _start_batches(self) -> None:
        """Gives the instances that are idle something to do."""
        self._awake = False
        while len(self._running) < self._instances and self._queue.images and not self._waits_for_more():
            batch = self._draw()
            if not batch.parts:
                continue  # everyone drawn was late
            if self._pace.usual(batch.images) < self._on_the_loop:
                self._finish(batch, *self._compute(batch.pixels))
                self._wake()  # the loop turns between two batches
                return
            self._running.add(batch)
            try:
                self._threads.submit(self._compute_aside, batch)
            except RuntimeError as error:  # the system gives us no thread, now
                self._running.remove(batch)
                for work in batch.works():
                    self._fail(work, error)

    def _waits_for_more(self) -> bool:
        """Whether the next batch is not full, and its first request came less than the longest delay ago."""
        if not self._max_queue_delay or self._queue.images >= self._max_batch:
            return False
        due = min(work.arrived for work in self._queue) + self._max_queue_delay
        if due <= time.monotonic():
            return False
        self._window.set(due, self._start_batches)
        return True

    def _draw(self) -> Batch:
        now = time.monotonic()
        images = self._in_time(self._next_size(self._queue.images), now)
        parts, late = self._queue.draw(images, now + self._pace.quickest(images), now + self._pace.slowest(images))
        for work in late:
            if work.deadline > now:
                self._pace.refused(images)
            self._expire(work, "hopeless" if work.deadline > now else work.stage)
        for work, first, _ in parts:
            if first == 0:
                work.queue_seconds = now - work.arrived
                self._observer.started(work.queue_seconds)
        return Batch(parts)

    def _next_size(self, waiting: int) -> int:
        images = min(waiting, self._max_batch)
        return self._pace.best(images) if images > 1 and not self._max_queue_delay else images

    def _in_time(self, images: int, now: float) -> int:
        return self._pace.in_time(images, lambda seconds, most: self._queue.patient(now + seconds, most))

    def _compute(self, gather: Callable[[], NDArray[np.uint8]]) -> tuple[Outputs | Exception, float, float]:
        """What came of it, the seconds that it took, and those that it cost."""
        start, spent = time.perf_counter(), self._clock()
        try:
            pixels = gather()
            outputs = self._predict(pixels)
            if len(outputs.logits) != len(pixels):
                raise RuntimeError(f"{len(pixels)} images went into the model, {len(outputs.logits)} answers came out")
        except Exception as error:  # whatever went wrong, everyone in the batch hears it, and the next one runs
            return error, 0.0, 0.0
        return outputs, time.perf_counter() - start, self._clock() - spent

    def _compute_aside(self, batch: Batch) -> None:
        """In a thread."""
        self._loop.call_soon_threadsafe(self._finish, batch, *self._compute(batch.pixels))

    def _finish(self, batch: Batch, outcome: Outputs | Exception, seconds: float, cost: float) -> None:
        if batch in self._running:
            self._running.remove(batch)
            self._start_batches()  # first of all: the model works on while this batch is answered
        if isinstance(outcome, Exception):
            for work in batch.works():
                self._fail(work, outcome)
            return
        now = time.monotonic()
        for work in batch.works():
            if work.deadline <= now:
                self._expire(work, work.stage)
        self._measured(batch.images, seconds, cost)
        batch.finish(outcome, seconds)

    def _measured(self, images: int, seconds: float, cost: float) -> None:
        self._pace.measured(images, seconds, cost)
        self._observer.batched(images, seconds)

    # Who is not answered

    def _unanswered(self) -> list[Work]:
        return [*self._queue, *(work for batch in self._running for work in batch.works())]

    def _drop_late(self) -> None:
        """Tells those who ran out of time, and looks again when the next one may have."""
        now = time.monotonic()
        for work in self._unanswered():
            if work.deadline <= now:
                self._expire(work, work.stage)
        deadlines = (work.deadline for work in self._unanswered() if not work.answer.done())
        self._expiry.set(min(deadlines, default=NEVER), self._drop_late)

    def _expire(self, work: Work, stage: str) -> None:
        if not work.answer.done():
            self._fail(work, DeadlineExceeded(f"the deadline passed, or no answer can come before it (stage: {stage})"))
            self._observer.expired(stage)

    def _forget(self, work: Work) -> None:
        """The caller hung up."""
        self._queue.remove(work)
        if not work.answer.cancelled():
            work.answer.exception()  # it came in the same turn of the loop; asyncio wants it looked at
        elif work.deadline <= time.monotonic():
            self._observer.expired(work.stage)
        else:
            self._observer.cancelled(work.stage)

    def _fail(self, work: Work, error: Exception) -> None:
        self._queue.remove(work)
        if not work.answer.done():
            work.answer.set_exception(error)
