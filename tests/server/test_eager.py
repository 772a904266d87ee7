"""Eager tasks: as asyncio's own, only sooner."""

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pupil_server.eager import EagerFuture, EagerTask

Said = list[object]
Runner = Callable[[Coroutine[Any, Any, None]], Any]


async def turns(number: int = 6) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def test_a_task_has_begun_when_its_constructor_returns() -> None:
    async def test() -> None:
        said: Said = []

        async def work() -> None:
            said.append("begun")
            await asyncio.sleep(0)
            said.append("ended")

        task = EagerTask(work(), asyncio.get_running_loop())
        assert (said, task.done()) == (["begun"], False)
        await turns()
        assert (said, task.done()) == (["begun", "ended"], True)

    asyncio.run(test())


@pytest.mark.parametrize("answer", [7, ValueError("no")])
def test_who_completes_a_future_runs_the_task_that_awaits_it(answer: object) -> None:
    async def test() -> None:
        said: Said = []
        future: EagerFuture[object] = EagerFuture()

        async def work() -> None:
            try:
                said.append(await future)
            except ValueError as error:
                said.append(error)

        task = EagerTask(work(), asyncio.get_running_loop())
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        assert said == [answer]
        assert task.done()

    asyncio.run(test())


async def waits(said: Said, future: asyncio.Future[Any]) -> None:
    said.append(await future)


async def runs_out_of_time(said: Said, future: asyncio.Future[Any]) -> None:
    try:
        async with asyncio.timeout(0):
            await future
    except TimeoutError:
        said.append(("late", future.cancelled()))
    await asyncio.sleep(0)


async def runs_out_of_time_inside_of_more(said: Said, future: asyncio.Future[Any]) -> None:
    async with asyncio.timeout(60):
        await runs_out_of_time(said, future)
    said.append("in time")


async def cleans_up(said: Said, future: asyncio.Future[Any]) -> None:
    try:
        await future
    finally:
        said.append(("left", future.cancelled()))
        await asyncio.sleep(0)
        said.append("clean")


async def goes_on_when_cancelled(said: Said, future: asyncio.Future[Any]) -> None:
    try:
        await future
    except asyncio.CancelledError:
        said.append("cancelled")
    await asyncio.sleep(0)
    said.append("went on")


async def gathers(said: Said, future: asyncio.Future[Any]) -> None:
    said += await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2))
    said.append(await future)


async def groups(said: Said, future: asyncio.Future[Any]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(waits(said, future))
        await asyncio.sleep(0)


async def does_not_wait(said: Said, future: asyncio.Future[Any]) -> None:
    said.append(0)


def answer(future: asyncio.Future[Any], task: Any) -> None:
    if not future.done():
        future.set_result("answer")


def hang_up(future: asyncio.Future[Any], task: Any) -> None:
    task.cancel()


def hang_up_after_the_answer(future: asyncio.Future[Any], task: Any) -> None:
    answer(future, task)
    task.cancel()


@pytest.mark.parametrize(
    ("new", "act"),
    [
        (asyncio.Future, answer),
        (asyncio.Future, hang_up),
        (asyncio.Future, hang_up_after_the_answer),
        (EagerFuture, answer),
        (EagerFuture, hang_up),
    ],
)
@pytest.mark.parametrize(
    "work",
    [
        waits,
        runs_out_of_time,
        runs_out_of_time_inside_of_more,
        cleans_up,
        goes_on_when_cancelled,
        gathers,
        groups,
        does_not_wait,
    ],
)
def test_a_coroutine_cannot_tell_it_from_a_usual_task(work, new, act) -> None:
    async def run(make: Runner, future: asyncio.Future[Any]) -> Said:
        said: Said = []
        task = make(work(said, future))
        await turns()
        act(future, task)
        await turns()
        assert task.done()
        return said

    async def test() -> None:
        loop = asyncio.get_running_loop()
        eager = await run(lambda coroutine: EagerTask(coroutine, loop), new())
        assert eager == await run(loop.create_task, asyncio.Future())

    asyncio.run(test())


def test_a_task_that_is_cancelled_where_it_does_not_wait_hears_it_where_it_next_does() -> None:
    async def test() -> None:
        said: Said = []
        future: asyncio.Future[None] = asyncio.Future()

        async def work() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            said.append("still here")
            await waits(said, future)

        task = EagerTask(work(), asyncio.get_running_loop())
        await turns()
        assert (said, task.done(), future.cancelled()) == (["still here"], True, True)

    asyncio.run(test())


def test_an_error_in_the_turn_that_cancels_leaves_no_complaint() -> None:
    async def test() -> None:
        complaints: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        future: asyncio.Future[None] = loop.create_future()
        task = EagerTask(waits([], asyncio.gather(future)), loop)
        future.set_exception(ValueError("no"))
        loop.call_soon(task.cancel)
        await turns()
        assert task.done()
        del future, task
        gc.collect()
        assert complaints == []

    asyncio.run(test())


def test_the_current_task_is_the_eager_one_inside_and_the_one_around_it_afterwards() -> None:
    async def test() -> None:
        around, seen = asyncio.current_task(), []
        future: EagerFuture[None] = EagerFuture()

        async def work() -> None:
            seen.append(asyncio.current_task())
            await future
            seen.append(asyncio.current_task())

        task = EagerTask(work(), asyncio.get_running_loop())
        assert asyncio.current_task() is around
        future.set_result(None)
        assert asyncio.current_task() is around
        assert seen == [task, task]

    asyncio.run(test())


def test_what_a_task_knows_of_its_call_is_there_when_it_goes_on_and_nowhere_else() -> None:
    name = contextvars.ContextVar("name", default="nobody")

    async def test() -> None:
        said: Said = []
        futures: list[EagerFuture[None]] = [EagerFuture(), EagerFuture()]

        async def work(who: str, future: EagerFuture[None]) -> None:
            name.set(who)
            await future
            said.append(name.get())

        for who, future in zip("ab", futures, strict=True):
            EagerTask(work(who, future), asyncio.get_running_loop())
        for future in futures:
            future.set_result(None)
        assert (said, name.get()) == (["a", "b"], "nobody")

    asyncio.run(test())


def test_an_error_that_nobody_handles_is_told_to_the_loop() -> None:
    async def test() -> None:
        told: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))

        async def work() -> None:
            raise ValueError("a bug")

        assert EagerTask(work(), loop).done()
        assert [str(context["exception"]) for context in told] == ["a bug"]

    asyncio.run(test())


@pytest.mark.parametrize("hang_up", [False, True])
def test_an_ended_task_keeps_nothing_of_its_request(hang_up: bool) -> None:
    class Request:
        pass

    async def test() -> None:
        future: EagerFuture[int] = EagerFuture()

        async def work(request: Request) -> None:
            await future

        request = Request()
        seen = weakref.ref(request)
        task = EagerTask(work(request), asyncio.get_running_loop())
        del request
        if hang_up:
            task.cancel()
        else:
            future.set_result(1)
        await turns()
        assert seen() is None  # though both are still held here, and nobody collects garbage

    gc.disable()
    try:
        asyncio.run(test())
    finally:
        gc.enable()
