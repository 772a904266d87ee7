"""From an event loop to a thread, one thing at a time: grpcio's streams ask for their requests in threads."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import TypeVar

Item = TypeVar("Item")


class Handover(Iterator[Item]):
    """What an event loop makes, for the thread that asks for it; on leaving, the one being made is given up."""

    def __init__(self, items: AsyncIterator[Item], loop: asyncio.AbstractEventLoop) -> None:
        self._items = items
        self._loop = loop
        self._coming: Future[Item] | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._coming:
            self._coming.cancel()

    def __next__(self) -> Item:
        self._coming = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
        try:
            return self._coming.result()
        except (StopAsyncIteration, CancelledError):
            raise StopIteration from None

    async def _next(self) -> Item:  # a coroutine, which `run_coroutine_threadsafe` insists on
        return await anext(self._items)
