"""Tasks that begin at once, and futures that resume them at once: no turn of the event loop in between."""

import asyncio
import contextvars
from asyncio import _enter_task, _leave_task  # what its documentation offers to task implementations of others
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class EagerFuture(asyncio.Future[T]):
    """Who completes it runs the eager task that awaits it, there and then; a usual task awaits it as any future."""

    resume: Callable[[], None] | None = None

    def set_result(self, result: T) -> None:
        super().set_result(result)
        if self.resume:
            self.resume()

    def set_exception(self, error: type[BaseException] | BaseException) -> None:
        super().set_exception(error)
        if self.resume:
            self.resume()

    def cancel(self, msg: Any = None) -> bool:
        cancelled = super().cancel(msg)
        if cancelled and self.resume:
            self.get_loop().call_soon(self.resume)  # who cancels may be in the middle of something
        return cancelled


class EagerTask:
    """Runs a coroutine as a task does, but its first part before the constructor returns.

    asyncio.current_task() is this one inside, so timeouts and cancellation work as ever. What goes wrong inside is
    for the coroutine to handle: nobody can await the task.
    """

    __slots__ = ("_awaited", "_cancelling", "_context", "_coroutine", "_done", "_loop", "_must_cancel")

    def __init__(self, coroutine: Coroutine[Any, None, None], loop: asyncio.AbstractEventLoop) -> None:
        self._coroutine, self._loop = coroutine, loop
        self._context = contextvars.copy_context()
        self._awaited: asyncio.Future[Any] | None = None
        self._cancelling = 0
        self._done = self._must_cancel = False
        self._step()

    def done(self) -> bool:
        return self._done

    def cancel(self, msg: Any = None) -> bool:
        """Throws CancelledError into the coroutine where it waits, soon."""
        if self._done:
            return False
        self._cancelling += 1
        if not (self._awaited and self._awaited.cancel(msg)):
            self._must_cancel = True
        return True

    def cancelling(self) -> int:
        return self._cancelling

    def uncancel(self) -> int:
        self._cancelling = max(0, self._cancelling - 1)
        return self._cancelling

    def _step(self, _: object = None) -> None:
        loop = self._loop
        this: Any = self
        heard, self._awaited = self._awaited, None
        outer = asyncio.current_task(loop)
        if outer:  # which is not the current one for a while
            _leave_task(loop, outer)
        _enter_task(loop, this)
        try:
            if self._must_cancel:
                self._must_cancel = False
                if heard and heard.done() and not heard.cancelled():
                    heard.exception()  # an error in the turn of the cancelling: asyncio wants it looked at
                awaited = self._context.run(self._coroutine.throw, asyncio.CancelledError())
            else:
                awaited = self._context.run(self._coroutine.send, None)
            self._wait_for(awaited)
        except (StopIteration, asyncio.CancelledError):
            self._done = True
        except BaseException as error:
            self._done = True
            if not isinstance(error, Exception):
                raise
            loop.call_exception_handler({"message": "an eager task failed", "exception": error})
        finally:
            _leave_task(loop, this)
            if outer:
                _enter_task(loop, outer)

    def _wait_for(self, awaited: Any) -> None:
        if awaited is None:  # asyncio.sleep(0)
            self._loop.call_soon(self._step)
            return
        awaited._asyncio_future_blocking = False
        self._awaited = awaited
        if isinstance(awaited, EagerFuture):
            awaited.resume = self._step
        else:
            awaited.add_done_callback(self._step)
        if self._must_cancel and awaited.cancel():
            self._must_cancel = False
