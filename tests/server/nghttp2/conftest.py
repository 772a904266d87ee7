"""A lean front over handlers that tests can watch, and a peer that may send any frame it likes."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hpack import Decoder, Encoder

from pupil_proto.v1 import models_pb2 as pb
from pupil_server.call import Call
from pupil_server.dispatch import Dispatcher
from pupil_server.errors import NotFound
from pupil_server.method import Method
from pupil_server.metrics import Metrics
from pupil_server.settings import ServerSettings

pytest.importorskip("pupil_server.nghttp2.binding", exc_type=ImportError, reason="the lean front needs libnghttp2")

from pupil_server.nghttp2.front import NgHttp2Front
from pupil_server.nghttp2.limits import PeerLimits

PATIENCE = 20.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
Name = pb.UnloadModelRequest


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def message(name: str = "", compressed: bytes | None = None) -> bytes:
    body = Name(name=name).SerializeToString() if compressed is None else compressed
    return struct.pack(">BI", compressed is not None, len(body)) + body


def names(body: bytes) -> list[str]:
    """What the messages of an answer say."""
    found = []
    while body:
        flag, size = struct.unpack(">BI", body[:5])
        assert flag == 0
        found.append(Name.FromString(body[5 : 5 + size]).name)
        body = body[5 + size :]
    return found


class Handlers:
    """Echoes; what it was told, and what became of it, can be read here."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.together: list[list[bytes | None]] = []  # what was asked at once, turn by turn
        self.begun = self.cancelled = self.sent = self.read = 0
        self.go_on = asyncio.Event()

    def methods(self) -> list[Method]:
        return [
            Method("test.Echo", "One", Name, unary=self.one),
            Method("test.Echo", "Now", Name, unary=self.one, at_once=self.now),
            Method("test.Echo", "Hang", Name, unary=self.hang),
            Method("test.Echo", "Fail", Name, unary=self.fail),
            Method("test.Echo", "Large", Name, server_stream=self.large),
            Method("test.Echo", "Talk", Name, both_streams=self.talk),
            Method("test.Echo", "Unread", Name, both_streams=self.unread),
        ]

    async def one(self, request: pb.UnloadModelRequest, call: Call) -> pb.UnloadModelRequest:
        self.calls.append(call)
        return request

    def now(self, requests: Sequence[bytes | None], since: float) -> list[bytes | None]:
        """Everything but what says `later`; `broken` breaks it."""
        self.together.append(list(requests))
        assert not any(b"broken" in request for request in requests if request)
        return [None if request is None or b"later" in request else request for request in requests]

    async def hang(self, request: pb.UnloadModelRequest, call: Call) -> pb.UnloadModelRequest:
        self.begun += 1
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return request

    async def fail(self, request: pb.UnloadModelRequest, call: Call) -> pb.UnloadModelRequest:
        raise NotFound(request.name)

    async def large(self, request: pb.UnloadModelRequest, call: Call) -> AsyncGenerator[Name, None]:
        for _ in range(int(request.name)):
            self.sent += 1
            yield Name(name="x" * 10_000)

    async def talk(self, requests: AsyncIterator[Name], call: Call) -> AsyncGenerator[Name, None]:
        async for request in requests:
            yield request

    async def unread(self, requests: AsyncIterator[Name], call: Call) -> AsyncGenerator[Name, None]:
        self.begun += 1
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        async for _ in requests:
            self.read += 1
        yield Name(name=str(self.read))


@dataclass
class Answer:
    """What came back on one stream."""

    headers: dict[str, str] = field(default_factory=dict)  # trailers too
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None


class Peer:
    """Speaks HTTP/2 frame by frame, right or wrong."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.encoder, self.decoder = Encoder(), Decoder()
        self.answers: dict[int, Answer] = {}
        self.goaway: int | None = None
        self.frames: list[tuple[int, int, int, bytes]] = []
        self.window = {0: 0}  # bytes that the server has granted beyond the first windows
        self.closed = False

    def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    def hello(self, *settings: tuple[int, int]) -> None:
        self.send(PREFACE, frame(SETTINGS, payload=b"".join(struct.pack(">HI", *pair) for pair in settings)))

    def head(self, stream: int, path: str, *more: tuple[str, str], flags: int = END_HEADERS) -> bytes:
        headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "test"}
        headers |= {"content-type": "application/grpc", "te": "trailers", **dict(more)}
        return frame(HEADERS, flags, stream, self.encoder.encode(list(headers.items())))

    def ask(self, stream: int, path: str, body: bytes, *more: tuple[str, str]) -> None:
        self.send(self.head(stream, path, *more), frame(DATA, END_STREAM, stream, body))

    async def read(self) -> None:
        """One frame. Raises IncompleteReadError or ConnectionError at the end."""
        head = await self.reader.readexactly(9)
        size, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
        stream = int.from_bytes(head[5:])
        payload = await self.reader.readexactly(size)
        self.frames.append((kind, flags, stream, payload))
        answer = self.answers.setdefault(stream, Answer())
        if kind == HEADERS:
            answer.headers |= dict(self.decoder.decode(payload))
        elif kind == DATA:
            answer.body += payload
        elif kind == SETTINGS and not flags:
            self.send(frame(SETTINGS, 1))
        elif kind == RST_STREAM:
            answer.reset = int.from_bytes(payload)
        elif kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8])
        elif kind == WINDOW_UPDATE:
            self.window[stream] = self.window.get(stream, 0) + int.from_bytes(payload)
        answer.ended |= kind in (HEADERS, DATA) and bool(flags & END_STREAM)

    async def until(self, done) -> None:
        async with asyncio.timeout(PATIENCE):
            while not done():
                await self.read()

    async def answer(self, stream: int) -> Answer:
        await self.until(lambda: stream in self.answers and (self.answers[stream].ended or self.answers[stream].reset))
        return self.answers[stream]

    async def end(self) -> None:
        """Reads until the server hangs up."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await self.until(lambda: False)
        self.closed = True


class Lean:
    """A lean front on a free port, and its peers."""

    def __init__(self, handlers: Handlers, dispatcher: Dispatcher, front: NgHttp2Front) -> None:
        self.handlers, self.dispatcher, self.front = handlers, dispatcher, front
        self.port = 0
        self._peers: list[Peer] = []

    async def connect(self, *settings: tuple[int, int], hello: bool = True, ssl=None) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port, ssl=ssl, limit=2**22))
        self._peers.append(peer)
        if hello:
            peer.hello(*settings)
            await peer.until(lambda: peer.frames)  # the server's settings, which are obeyed from here on
        return peer

    async def works(self) -> None:
        """A new neighbour gets its answer."""
        peer = await self.connect()
        peer.ask(1, "/test.Echo/One", message("still here"))
        assert names((await peer.answer(1)).body) == ["still here"]

    async def eventually(self, true) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():  # noqa: ASYNC110  many different things are waited for
                await asyncio.sleep(0.002)

    async def close(self) -> None:
        for peer in self._peers:
            peer.writer.close()
        await self.front.stop(0)


@contextlib.asynccontextmanager
async def lean(*, tls=None, unix: Path | None = None, deadline: float = 60.0, **limits) -> AsyncIterator[Lean]:
    """A front of the test's own, with these limits."""
    handlers, dispatcher = Handlers(), Dispatcher(Metrics(), max_calls=4096, stream_idle=60.0)
    settings = ServerSettings(repository=Path("none"), port=0, unix=unix, default_deadline=deadline)
    limits.setdefault("look_every", 0.05)
    front = NgHttp2Front(handlers.methods(), dispatcher, settings, tls=tls, limits=PeerLimits(**limits))
    served = Lean(handlers, dispatcher, front)
    served.port = await front.start()
    try:
        yield served
        assert served.front.held.bytes >= 0
    finally:
        await served.close()
    assert not front.connections
    assert front.held.bytes == 0


class Tools:
    """The above, for tests that cannot import this file."""

    Peer, lean = Peer, staticmethod(lean)
    frame, message, names = staticmethod(frame), staticmethod(message), staticmethod(names)


@pytest.fixture(scope="session")
def tools() -> type[Tools]:
    return Tools
