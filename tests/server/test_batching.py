import asyncio
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pupil_server.batching import Batcher, longest_on_the_loop
from pupil_server.eager import EagerTask
from pupil_server.errors import DeadlineExceeded, Unavailable
from pupil_server.priority import Priority
from pupil_server.session import Outputs


def test_an_idle_batcher_answers_one_request_at_once_in_a_batch_of_its_own(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        assert batchers.spelled(await batcher.submit(batchers.image(7), batchers.FAR)) == [7]
        assert observed.batches == [1]

    batchers.with_batcher(test)


def test_batches_take_the_size_at_which_an_image_costs_least_by_the_clock_that_counts(batchers) -> None:
    cost = {1: 9.0, 2: 9.0, 4: 4.0, 8: 16.0}
    models: list[Any] = []

    async def test(batcher: Batcher, model, observed) -> None:
        models.append(model)
        for number in range(20):
            answers = await asyncio.gather(*batchers.submit(batcher, *range(8 * number, 8 * number + 8)))
            assert [batchers.spelled(answer) for answer in answers] == [[8 * number + n] for n in range(8)]
        assert observed.batches[-4:] == [4, 4, 4, 4]

    batchers.with_batcher(test, clock=lambda: sum(cost.get(rows, 9.0) for model in models for rows in model.rows))


def test_requests_that_arrive_while_the_model_is_busy_share_one_batch(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        first = await batchers.busy(batcher, model)
        others = batchers.submit(batcher, 1, 2, 3)
        await asyncio.sleep(0)
        model.free.set()
        assert [batchers.spelled(answer) for answer in await asyncio.gather(first, *others)] == [[0], [1], [2], [3]]
        assert observed.batches == [1, 3]

    batchers.with_batcher(test)


def test_a_batch_counts_images_and_not_requests(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        first = await batchers.busy(batcher, model)
        others = [
            asyncio.create_task(batcher.submit(batchers.image(10 * n, count=3), batchers.FAR)) for n in range(1, 6)
        ]
        await asyncio.sleep(0)
        model.free.set()
        answers = await asyncio.gather(*others)
        assert [batchers.spelled(answer) for answer in answers] == [
            [10 * n, 10 * n + 1, 10 * n + 2] for n in range(1, 6)
        ]
        assert max(observed.batches) == 8
        assert sum(observed.batches) == 16
        await first

    batchers.with_batcher(test)


def test_a_request_larger_than_a_batch_is_split_and_put_together_in_order(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        assert batchers.spelled(await batcher.submit(batchers.image(100, count=50), batchers.FAR)) == list(
            range(100, 150)
        )
        assert sorted(observed.batches) == [2, 8, 8, 8, 8, 8, 8]

    batchers.with_batcher(test, instances=3)


def test_a_huge_request_takes_turns_with_small_ones(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        first = await batchers.busy(batcher, model)
        huge = asyncio.create_task(batcher.submit(batchers.image(1000, count=800), batchers.FAR))
        await asyncio.sleep(0)
        (small,) = batchers.submit(batcher, 1)
        await asyncio.sleep(0)
        model.free.set()
        assert batchers.spelled(await small) == [1]
        assert not huge.done()
        assert len(batchers.spelled(await huge)) == 800
        await first

    batchers.with_batcher(test)


def test_an_interactive_request_overtakes_the_bulk_that_came_before_it(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        first = await batchers.busy(batcher, model)
        answered: list[int] = []

        async def one(number: int, priority: Priority) -> None:
            answered.append(batchers.spelled(await batcher.submit(batchers.image(number), batchers.FAR, priority))[0])

        bulk = [asyncio.create_task(one(number, Priority.BULK)) for number in (1, 2)]
        await asyncio.sleep(0)
        interactive = [asyncio.create_task(one(number, Priority.INTERACTIVE)) for number in (3, 4)]
        await asyncio.sleep(0)
        model.free.set()
        await asyncio.gather(first, *bulk, *interactive)
        assert answered == [3, 4, 1, 2]
        assert observed.batches == [1, 2, 2]

    batchers.with_batcher(test, max_batch=2)


def test_bulk_is_answered_although_interactive_requests_never_let_up(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        pool = asyncio.create_task(batcher.submit(batchers.image(1000, count=40), batchers.FAR, Priority.BULK))

        async def caller(number: int) -> None:
            while not pool.done():
                assert batchers.spelled(await batcher.submit(batchers.image(number), batchers.FAR)) == [number]

        await asyncio.gather(*(caller(number) for number in range(24)))  # three batches of them wait at any time
        assert batchers.spelled(await pool) == list(range(1000, 1040))

    batchers.with_batcher(test)


def test_a_window_is_over_once_the_batch_is_full(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        callers = []
        for number in (1, 2, 3):
            callers += batchers.submit(batcher, number)
            await asyncio.sleep(0.01)
        async with asyncio.timeout(100):
            await asyncio.gather(*callers)
        assert observed.batches == [3]

    batchers.with_batcher(test, max_batch=3, max_queue_delay=1000.0)


def test_a_window_ends_one_delay_after_its_first_request_however_many_follow(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        (first,) = callers = batchers.submit(batcher, 0)
        while not first.done():  # for ever, if each of them opened the window anew
            await asyncio.sleep(0.01)
            callers += batchers.submit(batcher, len(callers))
        assert (await first).queue_seconds >= 0.05
        assert observed.batches[0] > 1
        await asyncio.gather(*callers)

    batchers.with_batcher(test, max_batch=10_000, max_queue_delay=0.05)


def test_a_model_that_takes_next_to_no_time_is_not_sent_to_a_thread(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        while not any(model.on_the_loop):
            await batcher.submit(batchers.image(1), batchers.FAR)
        assert model.on_the_loop[0] is False  # nothing was known of it yet
        model.seconds = 0.1
        while model.on_the_loop[-1]:
            await batcher.submit(batchers.image(1), batchers.FAR)

    batchers.with_batcher(test)


@pytest.mark.parametrize(("longest", "there"), [(60.0, True), (0.0, False)])
def test_how_long_a_batch_may_take_on_the_loop_is_said_by_whoever_knows_the_cores(batchers, longest, there) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        model.seconds = 0.01
        for _ in range(4):
            await batcher.submit(batchers.image(1), batchers.FAR)
        assert model.on_the_loop[1:] == [there] * 3

    batchers.with_batcher(test, on_the_loop=longest)


def test_a_loop_that_shares_no_core_with_threads_computes_longer_itself_but_never_stalls_for_5_ms() -> None:
    assert longest_on_the_loop(2) < longest_on_the_loop(1) < 0.005


def test_what_is_left_of_a_request_whose_first_batch_failed_is_not_computed(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        model.fails = True
        with pytest.raises(RuntimeError):
            await batcher.submit(batchers.image(1, count=80), batchers.FAR)
        model.fails = False
        assert batchers.spelled(await batcher.submit(batchers.image(7), batchers.FAR)) == [7]
        assert len(model.rows) <= 3  # the first, perhaps the second that had begun by then, and the other request's

    batchers.with_batcher(test)


def test_an_error_reaches_everyone_in_the_batch_and_the_next_batch_still_runs(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        first = await batchers.busy(batcher, model)
        others = batchers.submit(batcher, 1, 2)
        await asyncio.sleep(0)
        model.fails = True
        model.free.set()
        for told in await asyncio.gather(first, *others, return_exceptions=True):
            assert isinstance(told, RuntimeError)
        model.fails = False
        assert batchers.spelled(await batcher.submit(batchers.image(5), batchers.FAR)) == [5]

    batchers.with_batcher(test)


def test_a_model_that_answers_for_too_few_images_is_an_error_and_not_a_wrong_answer(batchers) -> None:
    async def run() -> None:
        def short(pixels: NDArray[np.uint8]) -> Outputs:
            rows = np.zeros((len(pixels) - 1, 2), np.float32)
            return Outputs(rows, rows)

        batcher = Batcher(short, max_batch=8, instances=1, observer=batchers.Observed(), name="test")
        with pytest.raises(RuntimeError, match="3 images went into the model, 2 answers came out"):
            await batcher.submit(batchers.image(0, count=3), batchers.FAR)
        await batcher.close()

    asyncio.run(run())


def test_closing_tells_everyone_who_still_waits(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        running = await batchers.busy(batcher, model)
        (waiting,) = batchers.submit(batcher, 1)
        await asyncio.sleep(0)
        closing = asyncio.create_task(batcher.close())
        for task in (running, waiting):
            with pytest.raises(Unavailable):
                await task
        model.free.set()
        await closing
        with pytest.raises(Unavailable):
            await batcher.submit(batchers.image(2), batchers.FAR)

    batchers.with_batcher(test)


def test_five_thousand_requests_on_two_instances_each_get_their_own_answer_whoever_hangs_up(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        random = np.random.default_rng(0)
        sizes = random.integers(1, 20, 5000)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]) % 60000
        tasks = []
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
            deadline = time.monotonic() + random.choice([0.0, 60.0], p=[0.1, 0.9])
            tasks.append(asyncio.create_task(batcher.submit(batchers.image(start, count=size), deadline)))
            if random.random() < 0.2:
                tasks[random.integers(len(tasks))].cancel()
            if random.random() < 0.1:
                await asyncio.sleep(0)
        for start, size, task in zip(starts.tolist(), sizes.tolist(), tasks, strict=True):
            try:
                assert batchers.spelled(await task) == list(range(start, start + size))
            except (asyncio.CancelledError, DeadlineExceeded):
                continue
        answered = sum(not task.cancelled() and task.exception() is None for task in tasks)
        assert answered > 3000
        assert max(observed.batches) <= 8

    batchers.with_batcher(test, instances=2)


def test_a_small_batch_runs_in_the_turn_after_its_requests_and_its_callers_go_on_in_that_turn(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        loop = asyncio.get_running_loop()
        while True:
            said: list[list[int]] = []
            next_turn: asyncio.Future[list[list[int]]] = loop.create_future()

            async def ask(number: int, said=said) -> None:
                said.append(batchers.spelled(await batcher.submit(batchers.image(number), batchers.FAR)))

            loop.call_soon(lambda ask=ask: [EagerTask(ask(number), loop) for number in (1, 2)])
            loop.call_soon(loop.call_soon, lambda said=said, seen=next_turn: seen.set_result(list(said)))
            heard = await next_turn
            while len(said) < 2:  # noqa: ASYNC110  only a turn or two
                await asyncio.sleep(0)
            if model.on_the_loop[-1] and model.rows[-1] == 2:  # not before its time is known
                break
        assert heard == [[1], [2]]

    batchers.with_batcher(test)
