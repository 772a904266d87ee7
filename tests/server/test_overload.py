"""More than a model, or the machine below it, can do."""

import asyncio
import threading

import numpy as np
import pytest

from pupil_server.batching import Batcher
from pupil_server.pace import Pace
from pupil_server.priority import Priority
from pupil_server.queue import Queue
from pupil_server.work import Work

MAX_BATCH = 32
PATIENCE = 1.0  # seconds of each caller
PICTURE = np.zeros((1, 1, 1, 1), np.uint8)


class Overloaded:
    """More callers than a model can answer in time, in a time of their own: each asks again once it was answered."""

    def __init__(self, callers: int, fixed: float, each: float) -> None:
        self.now, self.answered = 0.0, 0
        self.fixed, self.each = fixed, each
        self.random = np.random.default_rng(0)
        self.queue, self.pace = Queue(), Pace()
        self.to_come = sorted(self.random.uniform(0, PATIENCE, callers))

    def run(self, until: float) -> None:
        while self.now < until:
            self.arrive()
            if self.queue.images:
                self.batch()
            else:
                self.now = self.to_come[0]

    def arrive(self) -> None:
        come = [when for when in self.to_come if when <= self.now]
        for when in come:
            self.queue.put(Work(PICTURE, when + PATIENCE, Priority.INTERACTIVE, None, when))  # type: ignore[arg-type]
        self.to_come = self.to_come[len(come) :]

    def batch(self) -> None:
        images, now = min(self.queue.images, MAX_BATCH), self.now
        images = self.pace.in_time(images, lambda seconds, most: self.queue.patient(now + seconds, most))
        parts, late = self.queue.draw(images, now + self.pace.quickest(images), now + self.pace.slowest(images))
        if parts:
            seconds = (self.fixed + self.each * len(parts)) * self.random.uniform(1.0, 1.2)
            self.pace.measured(len(parts), seconds)
            self.now += seconds
        self.answered += sum(part.work.deadline > self.now for part in parts)
        again = [*(part.work for part in parts), *late]
        self.to_come = sorted([*self.to_come, *(self.now + self.random.uniform(0, 0.1) for _ in again)])


@pytest.mark.parametrize(
    ("fixed", "each"),
    [
        pytest.param(0.0, 1 / 16, id="a full batch takes twice as long as anybody waits"),
        pytest.param(0.0, 1 / 32, id="a full batch takes as long as everybody waits"),
        pytest.param(0.2, 1 / 100, id="a full batch takes half of it and small ones are dear"),
    ],
)
def test_of_what_a_model_can_answer_two_thirds_are_useful_however_many_callers_run_out_of_time(
    fixed: float, each: float
) -> None:
    possible = max(size / (fixed + each * size) for size in range(1, MAX_BATCH + 1) if fixed + each * size < PATIENCE)
    overloaded = Overloaded(callers=500, fixed=fixed, each=each)
    overloaded.run(until=10.0)  # it gets to know the model
    before = overloaded.answered
    overloaded.run(until=60.0)
    assert (overloaded.answered - before) / 50 > possible * 2 / 3


def test_where_the_system_gives_no_thread_the_batch_fails_and_the_next_one_runs(batchers, monkeypatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def test(batcher: Batcher, model, observed) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            for error in await asyncio.gather(*batchers.submit(batcher, 1, 2), return_exceptions=True):
                assert str(error) == "can't start new thread"
        answers = await asyncio.gather(*batchers.submit(batcher, 3, 4))
        assert [batchers.spelled(answer) for answer in answers] == [[3], [4]]

    batchers.with_batcher(test)
