"""One gRPC call on one HTTP/2 stream: its answers, and how it ends. What comes in is its subclasses' own."""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import TYPE_CHECKING

from pupil_server.call import Call
from pupil_server.eager import EagerTask
from pupil_server.errors import Code, DeadlineExceeded, Overloaded, ProtocolViolation, PupilError
from pupil_server.logs import incident
from pupil_server.method import Failure, Method
from pupil_server.nghttp2.binding import CANCEL, Block, Form, block
from pupil_server.nghttp2.framing import Message, framed, gunzip
from pupil_server.nghttp2.metadata import status_headers

if TYPE_CHECKING:
    from pupil_server.nghttp2.connection import Connection

log = logging.getLogger("pupil.nghttp2")

RESPONSE = (
    (b":status", b"200"),
    (b"content-type", b"application/grpc"),
    (b"grpc-accept-encoding", b"identity,gzip"),
)
ANSWER = block(*RESPONSE)
REQUEST_ID = b"x-request-id"
SUCCESS = Form((b"grpc-status", b"0"), last=REQUEST_ID)
AHEAD = 2**16  # bytes of answers that a stream may have waiting for its reader; then its handler waits


class Held:
    """The bytes of calls that all connections together hold: requests until they are answered, and answers until they
    are taken. And one unpacks gzip at a time, off the loop.
    """

    def __init__(self, most: int) -> None:
        self.bytes = 0
        self._most = most
        self.unpacking = ThreadPoolExecutor(1, thread_name_prefix="gunzip")  # which works on though the call is gone

    def add(self, size: int) -> None:
        if self.bytes + size > self._most:
            raise Overloaded(
                f"the calls inside hold {self.bytes:,} of at most {self._most:,} bytes; try again later",
                retry_after=0.1,
            )
        self.bytes += size


class ServerCall(ABC):
    """`received`, `request_ended`, `take` and `closed` are the session's; `begin` or, where there is a `plain` request,
    `answer` is for who answers what arrived.

    Most of its state is of the class until it changes: one is made for every request.
    """

    _left: asyncio.Event | None = None  # of many answers: the reader has taken some of them
    _waiting = 0  # bytes in `_out`
    _held = 0
    _responded = _finished = _closed = False
    _task: EagerTask | None = None
    _failed: Block | None = None

    def __init__(
        self, connection: "Connection", number: int, method: Method, call: Call, *, since: float, packed: bool
    ) -> None:
        self._connection, self._number, self.method, self.call = connection, number, method, call
        self._packed = packed  # compressed messages are announced, as gzip
        self._since = since  # when it came, and from its first answer on when some of it was last taken
        self._out: deque[bytes | memoryview] = deque()

    # What comes in

    def received(self, chunk: bytes) -> None:
        if not self._finished:
            try:
                self._hold(len(chunk))
                self._read(chunk)
            except PupilError as error:
                self.refuse(error)

    @abstractmethod
    def _read(self, chunk: bytes) -> None: ...

    @abstractmethod
    def request_ended(self) -> None: ...

    def plain(self) -> bytes | None:
        """The request, where it is whole and the handler has an answer at once for some."""
        return None

    def answer(self, answer: bytes) -> None:
        """Ends the call with this one, without the handler."""
        try:
            self._answer(answer, last=True)
        except PupilError as error:
            self.refuse(error)

    def begin(self) -> None:
        """Starts the handler."""
        if not self._finished:  # it may have been taken back in the same read
            self._task = EagerTask(self._run(), self._connection.loop)

    async def _run(self) -> None:
        try:
            await self._work()
        except Failure as failure:
            self.fail(failure)
        except PupilError as error:
            self.refuse(error)
        except Exception:  # ours, and nobody would answer the call any more
            self.fail(Failure(Code.INTERNAL, incident(log, self.method.path)))

    @abstractmethod
    async def _work(self) -> None:
        """Runs the handler, and sends what it answers. Raises Failure or PupilError for what goes out instead."""

    async def _unpacked(self, message: Message) -> bytes:
        if not self._packed:
            raise ProtocolViolation(Code.INTERNAL, "a message is marked as compressed, the call names no encoding")
        held, most = self._connection.held, self._connection.limits.message_bytes
        body = await asyncio.get_running_loop().run_in_executor(held.unpacking, gunzip, message.body, most)
        self._hold(len(body))
        return body

    def _hold(self, size: int) -> None:
        """Counts what came, or less than nothing for what goes. Of a closed call all is let go, though who reads it may
        take another message first.
        """
        if not self._closed:
            self._connection.held.add(size)
            self._held += size

    # What goes out

    def take(self, room: int) -> tuple[bytes | memoryview, bool]:
        if not self._out:
            return b"", self._finished
        chunk = self._out[0]
        if len(chunk) <= room:
            self._out.popleft()
        else:
            rest = memoryview(chunk)
            chunk, self._out[0] = rest[:room], rest[room:]
        self._waiting -= len(chunk)
        if not self._finished:  # else all of the call is let go when it closes
            self._hold(-len(chunk))
        self._since = time.monotonic()
        if self._left and self._waiting < AHEAD:
            self._left.set()
        return chunk, self._finished and not self._out

    @property
    def trailers(self) -> Block:
        return self._failed or SUCCESS.filled(self.call.id.encode())

    def _answer(self, message: bytes | None, *, last: bool = False) -> None:
        """Raises Overloaded where callers who do not read leave no room for it."""
        if self._finished:
            return
        if message is not None:
            answer = framed(message)
            self._hold(len(answer) - (self._held if last else 0))  # of the last one the request is let go
            self._out.append(answer)
            self._waiting += len(answer)
        self._finished = last
        session = self._connection.session
        if self._responded:
            session.resume(self._number)
        else:
            self._responded = True
            self._since = time.monotonic()
            session.respond(self._number, ANSWER, body=True)
        self._connection.flush_soon()

    async def _answer_all(self, answers: AsyncGenerator[bytes, None]) -> None:
        self._left = asyncio.Event()
        async with self.call.limited(), aclosing(answers):
            async for answer in answers:
                self._answer(answer)
                while self._waiting >= AHEAD:
                    self._left.clear()
                    await self._left.wait()
        self._answer(None, last=True)

    # How it ends

    def fail(self, failure: Failure) -> None:
        """Ends the call with this status, after what was answered already."""
        if self._finished:
            return
        self._finished = True
        headers = [*status_headers(failure), (REQUEST_ID, self.call.id.encode())]
        if self._responded:
            self._failed = block(*headers)
            self._connection.session.resume(self._number)
        else:
            self._failed = block(*RESPONSE, *headers)  # and nothing else
            self._responded = True
            self._connection.session.respond(self._number, self._failed, body=False)
        current: object = asyncio.current_task()
        if self._task and self._task is not current:
            self._task.cancel()
        self._connection.flush_soon()

    def refuse(self, error: PupilError) -> None:
        self.fail(self._connection.dispatcher.failure(error))

    def closed(self) -> None:
        """Nobody listens any more."""
        self._finished = self._closed = True
        self._connection.held.bytes -= self._held
        if self._task and not self._task.done():
            self._task.cancel()

    def look(self, now: float) -> None:
        """Ends what waits too long for its peer: a request that does not come, an answer that is not read."""
        if self._responded and (self._finished or self._waiting):
            if now - self._since > self._connection.limits.stalled:
                self._connection.session.reset(self._number, CANCEL)
        elif not self._task and now > min(self.call.deadline, self._since + self._connection.limits.request):
            self.refuse(DeadlineExceeded("the request did not arrive in time"))


class Refused:
    """A request that was answered as soon as its headers were read: a stream that only ends."""

    def __init__(self, answer: Block) -> None:
        self.trailers = answer  # kept until it is written

    def received(self, chunk: bytes) -> None: ...
    def request_ended(self) -> None: ...
    def fail(self, failure: Failure) -> None: ...
    def look(self, now: float) -> None: ...
    def closed(self) -> None: ...

    def take(self, room: int) -> tuple[bytes | memoryview, bool]:
        return b"", True
