"""A call with a stream of requests; its handler starts at once, and the caller sends no more than it reads."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from pupil_server.call import Call
from pupil_server.errors import Code, ProtocolViolation
from pupil_server.method import Method
from pupil_server.nghttp2.framing import PREFIX, Message, MessageReader
from pupil_server.nghttp2.server_call import ServerCall

if TYPE_CHECKING:
    from pupil_server.nghttp2.connection import Connection

BESIDE = 100  # bytes that a message takes in memory beside its own: an empty one is five on the wire


class StreamCall(ServerCall):
    _arrived: asyncio.Event | None = None  # another message, or the end of them
    _ungranted = 0  # bytes that came, and that the caller may not yet replace by others
    _ended = False

    def __init__(
        self, connection: "Connection", number: int, method: Method, call: Call, *, since: float, packed: bool
    ) -> None:
        super().__init__(connection, number, method, call, since=since, packed=packed)
        self._reader = MessageReader(connection.limits.message_bytes)
        self._messages: deque[Message] = deque()
        connection.begin_soon(self)

    def _read(self, chunk: bytes) -> None:
        whole = self._reader.feed(chunk)
        self._hold(BESIDE * len(whole))
        self._messages.extend(whole)
        self._ungranted += len(chunk)
        if self._messages:
            if self._arrived:
                self._arrived.set()
        else:
            self._grant()  # the rest of a message that is larger than the window

    def request_ended(self) -> None:
        self._ended = True
        if self._arrived:
            self._arrived.set()

    async def _work(self) -> None:
        await self._answer_all(self._connection.dispatcher.both_streams(self.method, self._requests(), self.call))

    async def _requests(self) -> AsyncGenerator[bytes, None]:
        self._arrived = asyncio.Event()
        while True:
            while not self._messages:
                if self._reader.inside and self._ended:
                    raise ProtocolViolation(Code.INTERNAL, "the stream ended in the middle of a message")
                if self._ended:
                    return
                self._arrived.clear()
                await self._arrived.wait()
            message = self._messages.popleft()
            if not self._messages:
                self._grant()
            body = await self._unpacked(message) if message.compressed else message.body
            yield body
            unpacked = len(body) if message.compressed else 0
            self._hold(-(BESIDE + PREFIX.size + len(message.body) + unpacked))

    def _grant(self) -> None:
        if self._ungranted and not self._ended and not self._closed:  # then the session may be freed
            self._connection.session.grant(self._number, self._ungranted)
            self._connection.flush_soon()
        self._ungranted = 0
