"""Streams of messages: several worked on at a time, answered in order, never waited for without end."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from pupil_server.errors import DeadlineExceeded

Request = TypeVar("Request")
Answer = TypeVar("Answer")

AHEAD = 4  # requests of one stream in work; the next ones wait in the transport, which slows their sender down


async def in_order(
    requests: AsyncIterator[Request], work: Callable[[Request], Coroutine[Any, Any, Answer]], *, ahead: int = AHEAD
) -> AsyncGenerator[Answer, None]:
    """`work(request)` for each request, up to `ahead` at a time, the answers in the order of the requests.

    Reading goes on while answers are awaited, so that a sender who waits for each answer is served as well.
    """
    places = asyncio.Semaphore(ahead)
    answers: asyncio.Queue[asyncio.Task[Answer] | None] = asyncio.Queue()  # bounded by `places`

    async def read() -> None:
        try:
            async for request in requests:
                await places.acquire()
                answers.put_nowait(asyncio.create_task(work(request)))
        finally:
            answers.put_nowait(None)

    reader = asyncio.create_task(read())
    try:
        while (answer := await answers.get()) is not None:
            yield await answer
            places.release()
        await reader  # raises what reading raised
    finally:
        unread = [reader, *(answer for answer in _rest(answers) if answer)]
        for task in unread:
            task.cancel()
        await asyncio.gather(*unread, return_exceptions=True)


def _rest(queue: asyncio.Queue[Any]) -> list[Any]:
    return [queue.get_nowait() for _ in range(queue.qsize())]


async def patiently(requests: AsyncIterator[Request], seconds: float) -> AsyncGenerator[Request, None]:
    """The same messages; raises DeadlineExceeded when none comes for `seconds`."""
    while True:
        try:
            async with asyncio.timeout(seconds):
                request = await anext(requests)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise DeadlineExceeded(f"no message on the stream for {seconds:g} s; open another one") from None
        yield request
