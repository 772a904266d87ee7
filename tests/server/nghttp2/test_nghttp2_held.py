"""What calls hold is let go once, whoever lags behind its end, and whoever holds too much is in nobody's way."""

import asyncio
import gzip
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

from pupil_server.call import Call
from pupil_server.nghttp2 import server_call
from pupil_server.nghttp2.framing import PREFIX, framed
from pupil_server.nghttp2.limits import PeerLimits, limits_of
from pupil_server.nghttp2.server_call import Held
from pupil_server.nghttp2.stream_call import BESIDE, StreamCall
from pupil_server.settings import ServerSettings

INITIAL_WINDOW = 4
PATIENCE = 20.0
LARGE, RESOURCE_EXHAUSTED, INTERNAL = "/test.Echo/Large", "8", "13"


def opened(*, packed: bool = False) -> tuple[StreamCall, Held, list[int]]:
    """A stream on a connection that sends nothing, and how many bytes more were asked for each time."""
    held, asked = Held(10_000), list[int]()
    session = SimpleNamespace(grant=lambda stream, size: asked.append(size))
    quiet = {"begin_soon": lambda call: None, "flush_soon": lambda: None}
    connection = SimpleNamespace(limits=PeerLimits(), held=held, session=session, **quiet)
    call = Call("test.Echo/Talk", time.monotonic() + 60)
    stream = StreamCall(connection, 1, None, call, since=time.monotonic(), packed=packed)  # type: ignore[arg-type]
    return stream, held, asked


def test_a_message_that_is_taken_after_the_stream_has_ended_is_not_let_go_twice_nor_is_more_asked_for() -> None:
    async def story() -> None:
        call, held, asked = opened()
        call.received(framed(b"one") + framed(b"two"))
        requests = call._requests()
        assert await anext(requests) == b"one"
        assert held.bytes == 2 * (PREFIX.size + 3 + BESIDE)
        call.closed()
        assert await anext(requests) == b"two"
        assert held.bytes == 0
        assert not asked  # of a session that may be freed

    asyncio.run(story())


def test_messages_without_a_body_count_for_no_less_than_they_take_in_memory() -> None:
    async def story() -> None:
        call, held, _ = opened()
        call.received(framed(b"") * 50)
        assert held.bytes >= sum(map(sys.getsizeof, call._messages))
        requests = call._requests()
        assert [await anext(requests) for _ in range(50)] == [b""] * 50
        call.request_ended()
        assert [each async for each in requests] == []
        assert held.bytes == 0

    asyncio.run(story())


def test_a_message_that_is_unpacked_while_the_stream_ends_is_not_held_for_ever() -> None:
    async def story() -> None:
        call, held, _ = opened(packed=True)
        body = gzip.compress(b"one")
        call.received(PREFIX.pack(1, len(body)) + body)
        busy = threading.Event()
        held.unpacking.submit(busy.wait, PATIENCE)
        request = asyncio.ensure_future(anext(call._requests()))
        await asyncio.sleep(0)
        call.closed()
        busy.set()
        assert await request == b"one"
        assert held.bytes == 0

    asyncio.run(story())


def test_calls_that_hang_up_do_not_have_their_messages_unpacked_side_by_side(monkeypatch) -> None:
    inside, beside = threading.Semaphore(0), threading.Event()
    unpacking: list[bytes] = []

    def slowly(body: bytes, most: int) -> bytes:
        unpacking.append(body)
        if len(unpacking) > 1:
            beside.set()
        inside.release()
        beside.wait(0.3)
        unpacking.remove(body)
        return body

    monkeypatch.setattr(server_call, "gunzip", slowly)

    async def story() -> None:
        gone, held, _ = opened(packed=True)
        stays, _, _ = opened(packed=True)
        stays._connection.held = held
        for call in (gone, stays):
            call.received(PREFIX.pack(1, 3) + b"one")
        first = asyncio.ensure_future(anext(gone._requests()))
        await asyncio.to_thread(inside.acquire, timeout=PATIENCE)
        first.cancel()
        gone.closed()
        assert await anext(stays._requests()) == b"one"
        assert not beside.is_set()

    asyncio.run(story())


def test_the_largest_message_that_an_operator_allows_fits_packed_and_unpacked() -> None:
    for megabytes in (1, 64, 2000):
        limits = limits_of(ServerSettings(repository=Path("none"), max_message_mb=megabytes))
        held = Held(limits.held_bytes)
        for _ in range(2):
            held.add(PREFIX.size + limits.message_bytes)


def test_a_call_for_whose_unpacking_the_system_gives_no_thread_is_answered_and_let_go(tools, monkeypatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def test() -> None:
        async with tools.lean() as lean:
            packed = gzip.compress(tools.message("one")[PREFIX.size :])
            peer = await lean.connect()
            with monkeypatch.context() as patched:
                patched.setattr(threading.Thread, "start", refuse)
                peer.ask(1, "/test.Echo/One", tools.message(compressed=packed), ("grpc-encoding", "gzip"))
                assert (await peer.answer(1)).headers["grpc-status"] == INTERNAL
            assert lean.front.held.bytes == 0
            peer.ask(3, "/test.Echo/One", tools.message(compressed=packed), ("grpc-encoding", "gzip"))
            assert tools.names((await peer.answer(3)).body) == ["one"]

    asyncio.run(asyncio.wait_for(test(), 60))


def test_answers_that_nobody_takes_have_a_limit_over_all_connections(tools) -> None:
    async def test() -> None:
        async with tools.lean(held_bytes=300_000) as lean:
            slow = await lean.connect((INITIAL_WINDOW, 0))
            for stream in range(1, 40, 2):
                slow.ask(stream, LARGE, tools.message("1000"))
            await slow.until(lambda: 39 in slow.answers)
            assert 200_000 < lean.front.held.bytes <= 300_000
            assert any(answer.headers.get("grpc-status") == RESOURCE_EXHAUSTED for answer in slow.answers.values())
            slow.writer.transport.abort()
            await lean.eventually(lambda: not lean.front.connections)
            peer = await lean.connect()
            peer.ask(1, LARGE, tools.message("5"))
            assert len(tools.names((await peer.answer(1)).body)) == 5
            assert lean.front.held.bytes == 0

    asyncio.run(asyncio.wait_for(test(), 60))
