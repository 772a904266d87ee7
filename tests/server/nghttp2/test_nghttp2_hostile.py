"""Peers that mean harm: each is cut off or answered, holds no memory, and its neighbours notice nothing."""

import asyncio
import os
import random
import resource
import ssl

import pytest
from hpack import Encoder

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 1, 4
ENHANCE_YOUR_CALM = 11
INITIAL_WINDOW = 4
ONE, HANG, LARGE, TALK, UNREAD = (f"/test.Echo/{name}" for name in ("One", "Hang", "Large", "Talk", "Unread"))
ROUNDS = int(os.environ.get("PUPIL_FUZZ_ROUNDS", "150"))
FIRST = int(os.environ.get("PUPIL_FUZZ_FIRST", "0"))  # seed, so that a longer look goes on where another one ended


def run(test, seconds: float = 60) -> None:
    asyncio.run(asyncio.wait_for(test, seconds))


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def rapid_reset(peer, tools) -> bytes:
    one = [(peer.head(2 * i + 1, ONE), tools.frame(RST_STREAM, 0, 2 * i + 1, (8).to_bytes(4))) for i in range(5000)]
    return b"".join(part for pair in one for part in pair)


FLOODS = {
    "rapid reset": rapid_reset,
    "pings": lambda peer, tools: tools.frame(PING, payload=bytes(8)) * 10_000,
    "settings": lambda peer, tools: tools.frame(SETTINGS) * 10_000,
    "priorities": lambda peer, tools: tools.frame(PRIORITY, 0, 1, bytes(4) + b"\1") * 10_000,
    "window updates": lambda peer, tools: tools.frame(WINDOW_UPDATE, 0, 0, (1).to_bytes(4)) * 10_000,
    "empty data": lambda peer, tools: peer.head(1, TALK) + tools.frame(DATA, 0, 1) * 10_000,
    "continuations": lambda peer, tools: peer.head(1, ONE, flags=0) + tools.frame(CONTINUATION, 0, 1) * 10_000,
    "one megabyte of headers": lambda peer, tools: (
        peer.head(1, ONE, flags=0) + tools.frame(CONTINUATION, 0, 1, (b"\0\1a\x7f\x80\x7e" + bytes(16_255))) * 64
    ),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_ends_its_own_connection(tools, flood: str) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            neighbour = await lean.connect()
            neighbour.ask(1, HANG, tools.message("patient"))
            peer = await lean.connect()
            peer.send(FLOODS[flood](peer, tools))
            await peer.end()
            assert peer.closed
            await lean.works()
            lean.handlers.go_on.set()
            assert tools.names((await neighbour.answer(1)).body) == ["patient"]
            assert len(lean.handlers.calls) < 5000

    run(test())


def test_a_peer_that_takes_back_a_few_calls_is_none_of_those(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            for i in range(500):
                peer.send(peer.head(2 * i + 1, ONE), tools.frame(RST_STREAM, 0, 2 * i + 1, (8).to_bytes(4)))
            peer.ask(2001, ONE, tools.message("still friends"))
            assert tools.names((await peer.answer(2001)).body) == ["still friends"]

    run(test())


def test_headers_beyond_the_limit_are_refused_in_words_and_an_hpack_bomb_without_unpacking_it(tools) -> None:
    async def test() -> None:
        async with tools.lean(header_bytes=4096) as lean:
            peer = await lean.connect()
            peer.ask(1, ONE, tools.message(), ("x-large", "x" * 5000))
            answer = await peer.answer(1)
            assert answer.headers["grpc-status"] == "8"
            assert answer.headers["grpc-message"] == "the headers of the call are larger than 4,096 bytes"
            bomb = Encoder()
            stored = bomb.encode([("x-bomb", "b" * 3900)])  # one entry of the table, then named again and again
            before = megabytes()
            for stream in range(3, 43, 2):
                block = (stored if stream == 3 else b"") + b"\xbe" * 12_000  # 47 MB each, if it were unpacked
                peer.send(tools.frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
            await peer.until(lambda: peer.goaway is not None or len(peer.answers) >= 20)
            assert megabytes() - before < 20
            await lean.works()

    run(test())


def test_more_streams_than_allowed_are_refused_and_those_inside_are_served(tools) -> None:
    async def test() -> None:
        async with tools.lean(streams=100) as lean:
            peer = await lean.connect()
            for i in range(10_000):
                peer.ask(2 * i + 1, HANG, tools.message(str(i)))
            await lean.eventually(lambda: lean.handlers.begun == 100)
            await lean.works()
            assert lean.handlers.begun == 100
            peer.writer.transport.abort()
            await lean.eventually(lambda: lean.handlers.cancelled == 100)

    run(test())


def test_more_connections_than_allowed_are_hung_up_on(tools) -> None:
    async def test() -> None:
        async with tools.lean(connections=3) as lean:
            peers = [await lean.connect() for _ in range(3)]
            late = await lean.connect(hello=False)
            await late.end()
            assert late.closed
            peers[0].writer.transport.abort()
            await lean.eventually(lambda: len(lean.front.connections) == 2)
            await lean.works()

    run(test())


def test_a_thousand_connections_hold_less_than_100_kilobytes_each(tools) -> None:
    async def test() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
        count = 1000 if hard >= 4096 else 200
        async with tools.lean() as lean:
            await lean.works()
            before = megabytes()
            peers = [await lean.connect() for _ in range(count)]
            for peer in peers:
                peer.ask(1, HANG, tools.message())
            await lean.eventually(lambda: lean.handlers.begun == count)
            assert megabytes() - before < count * 0.1  # both ends together
            lean.handlers.go_on.set()
            for peer in peers:
                assert (await peer.answer(1)).headers["grpc-status"] == "0"

    run(test())


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", bytes(100)]
)
def test_whoever_does_not_speak_http2_is_hung_up_on(tools, first: bytes) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect(hello=False)
            peer.send(first * 3)
            await peer.end()
            assert peer.closed
            await lean.works()

    run(test())


@pytest.mark.parametrize("sent", [b"", b"PRI * HTTP/2.0\r\n"])
def test_whoever_never_says_hello_is_hung_up_on(tools, sent: bytes) -> None:
    async def test() -> None:
        async with tools.lean(hello=0.1) as lean:
            peer = await lean.connect(hello=False)
            peer.send(sent)
            await peer.end()
            assert peer.closed

    run(test())


def test_a_request_that_dribbles_in_ends_whatever_its_deadline(tools) -> None:
    async def test() -> None:
        async with tools.lean(request=0.1) as lean:
            peer = await lean.connect()
            peer.send(peer.head(1, ONE, ("grpc-timeout", "99999999H")), tools.frame(DATA, 0, 1, b"\0"))
            assert (await peer.answer(1)).headers["grpc-status"] == "4"

    run(test())


def test_an_answer_that_nobody_takes_is_dropped(tools) -> None:
    async def test() -> None:
        async with tools.lean(stalled=0.1) as lean:
            peer = await lean.connect((INITIAL_WINDOW, 0))
            peer.ask(1, ONE, tools.message("never taken"))
            peer.ask(3, LARGE, tools.message("1000"))
            await peer.answer(1)
            await peer.answer(3)
            assert (peer.answers[1].reset, peer.answers[3].reset) == (8, 8)
            await lean.works()

    run(test())


def test_a_peer_that_does_not_read_its_socket_is_not_read_either_and_dropped_in_the_end(tools) -> None:
    async def test() -> None:
        async with tools.lean(stalled=1.0, pong_within=60.0) as lean:
            peer = await lean.connect((INITIAL_WINDOW, 2**31 - 1))
            peer.writer.transport.pause_reading()
            peer.send(tools.frame(WINDOW_UPDATE, 0, 0, (2**30).to_bytes(4)))
            for stream in range(1, 200, 2):
                peer.ask(stream, LARGE, tools.message("1000"))  # 1 GB in all
            await lean.works()
            await lean.eventually(lambda: len(lean.front.connections) == 1)  # the neighbour's
            assert lean.handlers.sent < 5000

    run(test())


def test_data_after_the_end_of_a_request_and_a_half_closed_socket_harm_nobody(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            peer.ask(1, HANG, tools.message())
            peer.send(tools.frame(DATA, 0, 1, tools.message("more")))
            await peer.until(lambda: peer.goaway is not None or 1 in peer.answers)
            half = await lean.connect()
            half.ask(1, ONE, tools.message("last words"))
            half.writer.write_eof()
            await half.end()
            await lean.works()

    run(test())


def test_a_tls_port_hangs_up_on_plain_text(tools, tmp_path) -> None:
    async def test() -> None:
        async with tools.lean(tls=ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)) as lean:
            peer = await lean.connect(hello=False)
            peer.hello()
            await peer.end()
            assert peer.closed

    run(test())


def test_random_frames_never_crash_hang_or_disturb_a_neighbour(tools) -> None:
    async def test() -> None:
        async with tools.lean(stalled=5.0) as lean:
            neighbour = await lean.connect()
            for turn, seed in enumerate(range(FIRST, FIRST + ROUNDS)):
                peer = await lean.connect(hello=seed % 10 > 0)
                peer.send(*noise(peer, tools, random.Random(seed)))
                neighbour.ask(2 * turn + 1, ONE, tools.message(str(seed)))
                assert tools.names((await neighbour.answer(2 * turn + 1)).body) == [str(seed)]
                peer.writer.close()
            await lean.eventually(lambda: len(lean.front.connections) == 1)
            assert lean.front.held.bytes == 0

    run(test(), 60 + ROUNDS)


def noise(peer, tools, fate: random.Random) -> list[bytes]:
    """Frames, legal and not, on a few streams; now and then a call that is right, or bytes that are no frame."""
    parts = []
    for _ in range(fate.randrange(1, 40)):
        stream, flags = fate.choice((0, 1, 1, 3, 3, 5, 7, 2)), fate.choice((0, 1, 4, 5, 5, 8, 32, 0xFF))
        kind = fate.random()
        if kind < 0.35:
            path = fate.choice((ONE, HANG, LARGE, TALK, UNREAD, "/none"))
            parts.append(peer.head(stream, path, flags=fate.choice((END_HEADERS, END_HEADERS, flags))))
        elif kind < 0.6:
            parts.append(
                tools.frame(
                    DATA, flags, stream, tools.message("5") * fate.randrange(3) + fate.randbytes(fate.randrange(3))
                )
            )
        elif kind < 0.95:
            parts.append(
                tools.frame(fate.randrange(12), flags, stream, fate.randbytes(fate.choice((0, 4, 5, 6, 8, 100))))
            )
        else:
            parts.append(fate.randbytes(fate.randrange(40)))
    return parts
