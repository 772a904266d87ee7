"""What happens around every call, whatever front carries it.

A front reads bytes, makes a `Call`, and asks `Dispatcher` for the answer's bytes. Limits, deadlines, metrics and
the translation of errors are here, once.
"""

import asyncio
import contextvars
import functools
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress

from google.protobuf.message import Message

from pupil_server import logs
from pupil_server.access_log import AccessLog
from pupil_server.call import Call
from pupil_server.deadlines import Deadlines
from pupil_server.errors import Code, DeadlineExceeded, Overloaded, PupilError, Unavailable
from pupil_server.method import Failure, Method
from pupil_server.metrics import Metrics
from pupil_server.priority import Priority, asked_priority
from pupil_server.streams import patiently
from pupil_server.tokens import Tokens
from pupil_server.tracing import Tracing

log = logging.getLogger("pupil.calls")

SOON = 0.01  # seconds; the loop is kept for less at once, and only a queue knows whether an answer can come before then


class Dispatcher:
    """Carries calls to handlers."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        max_calls: int,
        stream_idle: float,
        tokens: Tokens | None = None,
        access_log: AccessLog | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._metrics = metrics
        self._tokens = tokens
        self._access_log = access_log
        self._tracing = tracing
        self._max_calls = max_calls
        self._stream_idle = stream_idle
        self._calls = 0
        self._draining = False
        self._awaited_calls = 0
        self._idle = asyncio.Event()  # draining, and no call is inside but those that never end by themselves
        self._deadlines = Deadlines()
        metrics.in_flight.set_function(lambda: self._calls)
        self._request_seconds = functools.cache(metrics.request_seconds.labels)
        self._requests = functools.cache(lambda path, code: metrics.requests.labels(path, code.name))

    async def unary(self, method: Method, request: bytes, call: Call) -> bytes:
        """The answer's bytes, or Failure."""
        assert method.unary is not None
        with _Visit(self, method, call) as now, self._deadlines.limit(call.deadline):
            self._admit(method, call, now)
            answer = await method.unary(method.parse(request), call)
            return answer.SerializeToString()

    def at_once(self, method: Method, calls: Sequence[tuple[bytes, Call]], since: float) -> list[bytes | None]:
        """The answers' bytes of unary calls that came in the turn that began at `since`, as far as it has them.

        None for a call that is left, and counted nowhere: `unary` has an answer or a reason for it.
        """
        assert method.at_once is not None
        if self._draining or self._tracing or self._calls + len(calls) > self._max_calls:
            return [None] * len(calls)
        plain = [request if self._is_plain(method, call, since) else None for request, call in calls]
        try:
            answers = method.at_once(plain, since)
        except Exception:  # ours, and it must not take the others of this turn along
            log.exception("%s failed at once; its calls go the usual way", method.path)
            return [None] * len(calls)
        answered = len(answers) - answers.count(None)
        if answered:
            seconds = time.monotonic() - since
            self._requests(method.path, Code.OK).inc(answered)
            self._request_seconds(method.path).observe(seconds, answered)
            if self._access_log and self._access_log.share:
                for (_, call), answer in zip(calls, answers, strict=True):
                    if answer is not None:
                        contextvars.copy_context().run(self._log, call, seconds)
        return answers

    async def server_stream(self, method: Method, request: bytes, call: Call) -> AsyncGenerator[bytes, None]:
        """The answers' bytes, one by one, or Failure."""
        assert method.server_stream is not None
        with _Visit(self, method, call) as now:
            self._admit(method, call, now)
            async with aclosing(method.server_stream(method.parse(request), call)) as answers:
                async for answer in answers:
                    yield answer.SerializeToString()

    async def both_streams(
        self, method: Method, requests: AsyncIterator[bytes], call: Call
    ) -> AsyncGenerator[bytes, None]:
        """The answers' bytes, one by one, or Failure."""
        assert method.both_streams is not None

        async def parsed() -> AsyncGenerator[Message, None]:
            async for request in patiently(requests, min(self._stream_idle, call.remaining())):
                self._authorize(method, call)  # once more: streams live long, and tokens are revoked
                yield method.parse(request)

        with _Visit(self, method, call) as now:
            self._admit(method, call, now)
            async with aclosing(method.both_streams(parsed(), call)) as answers:
                async for answer in answers:
                    call.require_time()
                    yield answer.SerializeToString()

    async def drain(self, grace: float) -> None:
        """Refuses new calls, and waits at most `grace` seconds for those inside."""
        self._draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._awaited_calls:
                    self._idle.clear()
                    await self._idle.wait()

    def failure(self, error: PupilError) -> Failure:
        """The error as it goes on the wire, counted."""
        if error.rejected:
            self._metrics.rejected.labels(error.rejected).inc()
        if isinstance(error, Overloaded):
            return Failure(error.code, str(error), {"retry-after-ms": str(max(1, round(error.retry_after * 1000)))})
        return Failure(error.code, str(error))

    def _came(self, method: Method, call: Call) -> None:
        logs.about(call.id)
        if self._tracing:
            call.trace = self._tracing.begin(call)
        self._calls += 1
        if method.ends:
            self._awaited_calls += 1

    def _went(self, method: Method, call: Call, seconds: float, error: BaseException | None) -> None:
        self._calls -= 1
        if method.ends:
            self._awaited_calls -= 1
            if self._draining and not self._awaited_calls:
                self._idle.set()
        code = Code.OK if error is None else _code(error)
        self._requests(method.path, code).inc()
        self._request_seconds(method.path).observe(seconds)
        if self._access_log:
            self._access_log.ended(call, code, seconds, error)
        if call.trace:
            call.trace.end(code)

    def _admit(self, method: Method, call: Call, now: float) -> None:
        if self._draining and not method.probe:
            raise Unavailable("the server is shutting down; try another one")
        self._authorize(method, call)
        if self._calls > self._max_calls and not method.probe:
            raise Overloaded(f"{self._max_calls:,} calls are already in work; try again later", retry_after=0.1)
        if call.deadline <= now:
            self._metrics.expired.labels("admission").inc()
            raise DeadlineExceeded("the deadline had passed when the call arrived")
        call.priority = asked_priority(call.metadata)

    def _log(self, call: Call, seconds: float) -> None:
        assert self._access_log is not None
        logs.about(call.id)
        self._access_log.ended(call, Code.OK, seconds, None)

    def _is_plain(self, method: Method, call: Call, now: float) -> bool:
        """Whether nothing has to be waited for or paid for, and all is right with the call."""
        if call.deadline <= now + SOON:
            return False
        try:
            self._authorize(method, call)
            return call.quota is None and asked_priority(call.metadata) is Priority.INTERACTIVE
        except PupilError:
            return False

    def _authorize(self, method: Method, call: Call) -> None:
        if self._tokens:
            token = self._tokens.check(call.metadata.get("authorization", ""), method.scope)
            if token:
                call.token, call.quota = token.name, token.quota


class _Visit:
    """One call inside: counted and timed, and what went wrong with it put into words for the wire."""

    __slots__ = ("_call", "_dispatcher", "_method", "_start")

    def __init__(self, dispatcher: Dispatcher, method: Method, call: Call) -> None:
        self._dispatcher, self._method, self._call = dispatcher, method, call

    def __enter__(self) -> float:
        """The time, on time.monotonic's clock."""
        self._start = time.monotonic()
        self._dispatcher._came(self._method, self._call)
        return self._start

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._dispatcher._went(self._method, self._call, time.monotonic() - self._start, error)
        if error is None:
            return
        # Raised without a name: one would lead from its own trace back to it, a circle around the whole request.
        if isinstance(error, PupilError):
            raise self._dispatcher.failure(error) from error
        if isinstance(error, Exception):
            raise Failure(Code.INTERNAL, logs.incident(log, self._method.path)) from error


def _code(error: BaseException) -> Code:
    if isinstance(error, PupilError):
        return error.code
    return Code.INTERNAL if isinstance(error, Exception) else Code.CANCELLED  # the caller hung up
