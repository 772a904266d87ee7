"""Work that nobody waits for any more: hang-ups and deadlines, in the queue and inside a batch."""

import asyncio
import gc
import time
import weakref

import pytest

from pupil_server.batching import Batcher
from pupil_server.errors import DeadlineExceeded
from pupil_server.pace import KNOWN


def test_a_caller_who_hangs_up_does_not_disturb_the_rest_of_its_batch(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        model.free.clear()
        callers = batchers.submit(batcher, 1, 2, 3)  # one batch, and it is running
        await asyncio.to_thread(model.entered.wait)
        callers[1].cancel()
        model.free.set()
        assert batchers.spelled(await callers[0]) == [1]
        assert batchers.spelled(await callers[2]) == [3]
        assert callers[1].cancelled()
        assert observed.gone == [("cancelled", "inference")]

    batchers.with_batcher(test)


def test_who_hangs_up_in_the_queue_never_reaches_the_model(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        first = await batchers.busy(batcher, model)
        callers = batchers.submit(batcher, 1, 2, 3)
        await asyncio.sleep(0)
        for caller in callers:
            caller.cancel()
        await asyncio.sleep(0)
        model.free.set()
        await first
        assert batchers.spelled(await batcher.submit(batchers.image(9), batchers.FAR)) == [9]
        assert observed.batches == [1, 1]
        assert observed.gone == [("cancelled", "queue")] * 3

    batchers.with_batcher(test)


def test_who_ran_out_of_time_in_the_queue_is_told_so_and_never_reaches_the_model(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        first = await batchers.busy(batcher, model)
        (late,) = batchers.submit(batcher, 1, deadline=time.monotonic())
        await asyncio.sleep(0)
        model.free.set()
        with pytest.raises(DeadlineExceeded):
            await late
        await first
        assert observed.batches == [1]
        assert observed.gone == [("expired", "queue")]

    batchers.with_batcher(test)


def test_who_runs_out_of_time_hears_it_then_and_not_when_the_running_batch_ends(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        first = await batchers.busy(batcher, model)
        soon = time.monotonic() + 0.02
        for late in batchers.submit(batcher, 1, 2, deadline=soon):
            with pytest.raises(DeadlineExceeded):
                await late
        assert not first.done()
        assert observed.gone == [("expired", "queue")] * 2
        model.free.set()
        await first

    batchers.with_batcher(test)


def test_who_runs_out_of_time_inside_a_batch_hears_it_before_the_batch_ends(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        model.free.clear()
        patient, hasty = *batchers.submit(batcher, 1), *batchers.submit(batcher, 2, deadline=time.monotonic() + 0.2)
        await asyncio.to_thread(model.entered.wait)
        with pytest.raises(DeadlineExceeded):
            await hasty
        assert not patient.done()
        model.free.set()
        assert batchers.spelled(await patient) == [1]
        assert observed.gone == [("expired", "inference")]

    batchers.with_batcher(test)


def test_a_later_and_shorter_deadline_is_kept_too(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        first = await batchers.busy(batcher, model)
        now = time.monotonic()
        long, short = *batchers.submit(batcher, 1, deadline=now + 50), *batchers.submit(batcher, 2, deadline=now + 0.02)
        with pytest.raises(DeadlineExceeded):
            await short
        assert not long.done()
        model.free.set()
        await asyncio.gather(first, long)

    batchers.with_batcher(test)


def test_who_hangs_up_takes_the_pixels_along_while_the_model_is_still_busy(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        first = await batchers.busy(batcher, model)
        pixels = batchers.image(1)
        seen = weakref.ref(pixels)
        caller = asyncio.create_task(batcher.submit(pixels, batchers.FAR))
        del pixels
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.wait([caller])
        del caller
        gc.collect()
        assert seen() is None
        model.free.set()
        await first

    batchers.with_batcher(test)


def test_work_that_no_batch_can_finish_in_time_is_not_begun(batchers) -> None:
    async def test(batcher: Batcher, model, observed) -> None:
        model.seconds = 0.1
        for number in range(5):
            await batcher.submit(batchers.image(number), batchers.FAR)
        with pytest.raises(DeadlineExceeded):
            await batcher.submit(batchers.image(9), time.monotonic() + 0.02)
        assert batchers.spelled(await batcher.submit(batchers.image(8), time.monotonic() + 30)) == [8]
        assert observed.batches == [1] * 6

    batchers.with_batcher(test)


def test_a_batch_is_no_larger_than_its_callers_can_wait_for(batchers) -> None:
    async def test(batcher, model, observed) -> None:
        for images in (1, 2, 4, 8):
            for _ in range(KNOWN):
                batcher._pace.measured(images, 100.0 * images)
        first = await batchers.busy(batcher, model)
        others = batchers.submit(batcher, *range(1, 17), deadline=time.monotonic() + 500.0)
        await asyncio.sleep(0)
        model.free.set()
        await asyncio.gather(first, *others)
        assert observed.batches[:2] == [1, 4]
        assert observed.gone == []

    batchers.with_batcher(test)
