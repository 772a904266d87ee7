import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pupil_server.batching import Answer, Batcher
from pupil_server.errors import DeadlineExceeded, Unavailable
from pupil_server.priority import Priority
from pupil_server.session import Outputs

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


def test_an_idle_batcher_answers_one_request_at_once_in_a_batch_of_its_own() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        assert spelled(await batcher.submit(image(7), FAR)) == [7]
        assert observed.batches == [1]

    with_batcher(test)


def test_requests_that_arrive_while_the_model_is_busy_share_one_batch() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        first = await busy(batcher, model)
        others = submit(batcher, 1, 2, 3)
        await asyncio.sleep(0)
        model.free.set()
        assert [spelled(answer) for answer in await asyncio.gather(first, *others)] == [[0], [1], [2], [3]]
        assert observed.batches == [1, 3]

    with_batcher(test)


def test_a_batch_counts_images_and_not_requests() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        first = await busy(batcher, model)
        others = [asyncio.create_task(batcher.submit(image(10 * n, count=3), FAR)) for n in range(1, 6)]
        await asyncio.sleep(0)
        model.free.set()
        answers = await asyncio.gather(*others)
        assert [spelled(answer) for answer in answers] == [[10 * n, 10 * n + 1, 10 * n + 2] for n in range(1, 6)]
        assert max(observed.batches) == 8
        assert sum(observed.batches) == 16
        await first

    with_batcher(test)


def test_a_request_larger_than_a_batch_is_split_and_put_together_in_order() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        assert spelled(await batcher.submit(image(100, count=50), FAR)) == list(range(100, 150))
        assert sorted(observed.batches) == [2, 8, 8, 8, 8, 8, 8]

    with_batcher(test, instances=3)


def test_a_huge_request_takes_turns_with_small_ones() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        first = await busy(batcher, model)
        huge = asyncio.create_task(batcher.submit(image(1000, count=800), FAR))
        await asyncio.sleep(0)
        (small,) = submit(batcher, 1)
        await asyncio.sleep(0)
        model.free.set()
        assert spelled(await small) == [1]
        assert not huge.done()
        assert len(spelled(await huge)) == 800
        await first

    with_batcher(test)


def test_a_caller_who_hangs_up_does_not_disturb_the_rest_of_its_batch() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        model.free.clear()
        callers = submit(batcher, 1, 2, 3)  # one batch, and it is running
        await asyncio.to_thread(model.entered.wait)
        callers[1].cancel()
        model.free.set()
        assert spelled(await callers[0]) == [1]
        assert spelled(await callers[2]) == [3]
        assert callers[1].cancelled()
        assert observed.gone == [("cancelled", "inference")]

    with_batcher(test)


def test_who_hangs_up_in_the_queue_never_reaches_the_model() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        first = await busy(batcher, model)
        callers = submit(batcher, 1, 2, 3)
        await asyncio.sleep(0)
        for caller in callers:
            caller.cancel()
        await asyncio.sleep(0)
        model.free.set()
        await first
        assert spelled(await batcher.submit(image(9), FAR)) == [9]
        assert observed.batches == [1, 1]
        assert observed.gone == [("cancelled", "queue")] * 3

    with_batcher(test)


def test_who_ran_out_of_time_in_the_queue_is_told_so_and_never_reaches_the_model() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        first = await busy(batcher, model)
        (late,) = submit(batcher, 1, deadline=time.monotonic())
        await asyncio.sleep(0)
        model.free.set()
        with pytest.raises(DeadlineExceeded):
            await late
        await first
        assert observed.batches == [1]
        assert observed.gone == [("expired", "queue")]

    with_batcher(test)


def test_who_runs_out_of_time_hears_it_then_and_not_when_the_running_batch_ends() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        first = await busy(batcher, model)
        soon = time.monotonic() + 0.02
        for late in submit(batcher, 1, 2, deadline=soon):
            with pytest.raises(DeadlineExceeded):
                await late
        assert not first.done()
        assert observed.gone == [("expired", "queue")] * 2
        model.free.set()
        await first

    with_batcher(test)


def test_who_runs_out_of_time_inside_a_batch_hears_it_before_the_batch_ends() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        model.free.clear()
        patient, hasty = *submit(batcher, 1), *submit(batcher, 2, deadline=time.monotonic() + 0.2)
        await asyncio.to_thread(model.entered.wait)
        with pytest.raises(DeadlineExceeded):
            await hasty
        assert not patient.done()
        model.free.set()
        assert spelled(await patient) == [1]
        assert observed.gone == [("expired", "inference")]

    with_batcher(test)


def test_a_later_and_shorter_deadline_is_kept_too() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        first = await busy(batcher, model)
        now = time.monotonic()
        long, short = *submit(batcher, 1, deadline=now + 50), *submit(batcher, 2, deadline=now + 0.02)
        with pytest.raises(DeadlineExceeded):
            await short
        assert not long.done()
        model.free.set()
        await asyncio.gather(first, long)

    with_batcher(test)


def test_who_hangs_up_takes_the_pixels_along_while_the_model_is_still_busy() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        first = await busy(batcher, model)
        pixels = image(1)
        seen = weakref.ref(pixels)
        caller = asyncio.create_task(batcher.submit(pixels, FAR))
        del pixels
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.wait([caller])
        del caller
        gc.collect()
        assert seen() is None
        model.free.set()
        await first

    with_batcher(test)


def test_work_that_no_batch_can_finish_in_time_is_not_begun() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        model.seconds = 0.1
        for number in range(5):
            await batcher.submit(image(number), FAR)
        with pytest.raises(DeadlineExceeded):
            await batcher.submit(image(9), time.monotonic() + 0.02)
        assert spelled(await batcher.submit(image(8), time.monotonic() + 30)) == [8]
        assert observed.batches == [1] * 6

    with_batcher(test)


def test_an_interactive_request_overtakes_the_bulk_that_came_before_it() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        first = await busy(batcher, model)
        answered: list[int] = []

        async def one(number: int, priority: Priority) -> None:
            answered.append(spelled(await batcher.submit(image(number), FAR, priority))[0])

        bulk = [asyncio.create_task(one(number, Priority.BULK)) for number in (1, 2)]
        await asyncio.sleep(0)
        interactive = [asyncio.create_task(one(number, Priority.INTERACTIVE)) for number in (3, 4)]
        await asyncio.sleep(0)
        model.free.set()
        await asyncio.gather(first, *bulk, *interactive)
        assert answered == [3, 4, 1, 2]
        assert observed.batches == [1, 2, 2]

    with_batcher(test, max_batch=2)


def test_bulk_is_answered_although_interactive_requests_never_let_up() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        pool = asyncio.create_task(batcher.submit(image(1000, count=40), FAR, Priority.BULK))

        async def caller(number: int) -> None:
            while not pool.done():
                assert spelled(await batcher.submit(image(number), FAR)) == [number]

        await asyncio.gather(*(caller(number) for number in range(24)))  # three batches of them wait at any time
        assert spelled(await pool) == list(range(1000, 1040))

    with_batcher(test)


def test_a_window_is_over_once_the_batch_is_full() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        callers = []
        for number in (1, 2, 3):
            callers += submit(batcher, number)
            await asyncio.sleep(0.01)
        async with asyncio.timeout(100):
            await asyncio.gather(*callers)
        assert observed.batches == [3]

    with_batcher(test, max_batch=3, max_queue_delay=1000.0)


def test_a_window_ends_one_delay_after_its_first_request_however_many_follow() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        (first,) = callers = submit(batcher, 0)
        while not first.done():  # for ever, if each of them opened the window anew
            await asyncio.sleep(0.01)
            callers += submit(batcher, len(callers))
        assert (await first).queue_seconds >= 0.05
        assert observed.batches[0] > 1
        await asyncio.gather(*callers)

    with_batcher(test, max_batch=10_000, max_queue_delay=0.05)


def test_a_model_that_takes_next_to_no_time_is_not_sent_to_a_thread() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        while not any(model.on_the_loop):
            await batcher.submit(image(1), FAR)
        assert model.on_the_loop[0] is False  # nothing was known of it yet
        model.seconds = 0.1
        while model.on_the_loop[-1]:
            await batcher.submit(image(1), FAR)

    with_batcher(test)


def test_what_is_left_of_a_request_whose_first_batch_failed_is_not_computed() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        model.fails = True
        with pytest.raises(RuntimeError):
            await batcher.submit(image(1, count=80), FAR)
        model.fails = False
        assert spelled(await batcher.submit(image(7), FAR)) == [7]
        assert len(model.rows) <= 3  # the first, perhaps the second that had begun by then, and the other request's

    with_batcher(test)


def test_an_error_reaches_everyone_in_the_batch_and_the_next_batch_still_runs() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        first = await busy(batcher, model)
        others = submit(batcher, 1, 2)
        await asyncio.sleep(0)
        model.fails = True
        model.free.set()
        for told in await asyncio.gather(first, *others, return_exceptions=True):
            assert isinstance(told, RuntimeError)
        model.fails = False
        assert spelled(await batcher.submit(image(5), FAR)) == [5]

    with_batcher(test)


def test_a_model_that_answers_for_too_few_images_is_an_error_and_not_a_wrong_answer() -> None:
    async def run() -> None:
        def short(pixels: NDArray[np.uint8]) -> Outputs:
            rows = np.zeros((len(pixels) - 1, 2), np.float32)
            return Outputs(rows, rows)

        batcher = Batcher(short, max_batch=8, instances=1, observer=Observed(), name="test")
        with pytest.raises(RuntimeError, match="3 images went into the model, 2 answers came out"):
            await batcher.submit(image(0, count=3), FAR)
        await batcher.close()

    asyncio.run(run())


def test_closing_tells_everyone_who_still_waits() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        running = await busy(batcher, model)
        (waiting,) = submit(batcher, 1)
        await asyncio.sleep(0)
        closing = asyncio.create_task(batcher.close())
        for task in (running, waiting):
            with pytest.raises(Unavailable):
                await task
        model.free.set()
        await closing
        with pytest.raises(Unavailable):
            await batcher.submit(image(2), FAR)

    with_batcher(test)


def test_five_thousand_requests_on_two_instances_each_get_their_own_answer_whoever_hangs_up() -> None:
    async def test(batcher: Batcher, model: Model, observed: Observed) -> None:
        random = np.random.default_rng(0)
        sizes = random.integers(1, 20, 5000)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]) % 60000
        tasks = []
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
            deadline = time.monotonic() + random.choice([0.0, 60.0], p=[0.1, 0.9])
            tasks.append(asyncio.create_task(batcher.submit(image(start, count=size), deadline)))
            if random.random() < 0.2:
                tasks[random.integers(len(tasks))].cancel()
            if random.random() < 0.1:
                await asyncio.sleep(0)
        for start, size, task in zip(starts.tolist(), sizes.tolist(), tasks, strict=True):
            try:
                assert spelled(await task) == list(range(start, start + size))
            except (asyncio.CancelledError, DeadlineExceeded):
                continue
        answered = sum(not task.cancelled() and task.exception() is None for task in tasks)
        assert answered > 3000
        assert max(observed.batches) <= 8

    with_batcher(test, instances=2)
