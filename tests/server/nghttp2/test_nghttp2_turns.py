import asyncio
import contextlib
from collections.abc import AsyncIterator

from pupil_server.nghttp2.connection import Connection


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...


class Caller:
    """One connection whose bytes come when the test says so."""

    def __init__(self, tools, front) -> None:
        self._peer = tools.Peer(asyncio.StreamReader(), None)
        self._message, self._frame = tools.message, tools.frame
        self._streams = iter(range(1, 1000, 2))
        self._wire = Wire()
        self.connection = Connection(front)
        self.connection.connection_made(self._wire)
        self.connection.data_received(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self._frame(4))

    def calls(self, name: str) -> None:
        stream, end_stream = next(self._streams), 1
        body = self._frame(0, end_stream, stream, self._message(name))
        self.connection.data_received(self._peer.head(stream, "/test.Echo/One") + body)

    def has(self, name: str) -> bool:
        return name.encode() in self._wire.written


@contextlib.asynccontextmanager
async def callers(tools, number: int) -> AsyncIterator[list[Caller]]:
    """On one front, and their greetings were answered."""
    async with tools.lean() as served:
        those = [Caller(tools, served.front) for _ in range(number)]
        await asyncio.sleep(0)
        try:
            yield those
        finally:
            for caller in those:
                caller.connection.connection_lost(None)


def test_a_connection_that_is_heard_alone_is_answered_in_its_read(tools) -> None:
    async def story() -> None:
        async with callers(tools, 1) as (caller,):
            for name in ("one", "another"):
                caller.calls(name)
                assert caller.has(name)

    asyncio.run(story())


def test_what_several_connections_ask_is_answered_together_when_the_turn_ends(tools) -> None:
    async def story() -> None:
        async with callers(tools, 3) as several:
            for name in ("one", "another"):
                for caller in several:
                    caller.calls(name)
                assert not any(caller.has(name) for caller in several)
                await asyncio.sleep(0)
                assert all(caller.has(name) for caller in several)

    asyncio.run(story())
