"""What a stream holds is let go once, though whoever reads it may lag behind its end."""

import asyncio
import gzip
import time
from types import SimpleNamespace

from pupil_server.call import Call
from pupil_server.nghttp2.framing import PREFIX, framed
from pupil_server.nghttp2.limits import Limits
from pupil_server.nghttp2.server_call import Held
from pupil_server.nghttp2.stream_call import StreamCall


def opened(*, packed: bool = False) -> tuple[StreamCall, Held]:
    """A stream on a connection that sends nothing."""
    held = Held(10_000)
    session = SimpleNamespace(grant=lambda stream, size: None)
    quiet = {"begin_soon": lambda call: None, "flush_soon": lambda: None}
    door = SimpleNamespace(limits=Limits(), held=held, session=session, **quiet)
    call = Call("test.Echo/Talk", time.monotonic() + 60)
    return StreamCall(door, 1, None, call, since=time.monotonic(), packed=packed), held  # type: ignore[arg-type]


def test_a_message_that_is_taken_after_the_stream_has_ended_is_not_let_go_twice() -> None:
    async def story() -> None:
        call, held = opened()
        call.received(framed(b"one") + framed(b"two"))
        requests = call._requests()
        assert await anext(requests) == b"one"
        assert held.bytes == 2 * (PREFIX.size + 3)
        call.closed()
        assert await anext(requests) == b"two"
        assert held.bytes == 0

    asyncio.run(story())


def test_a_message_that_is_unpacked_while_the_stream_ends_is_not_held_for_ever() -> None:
    async def story() -> None:
        call, held = opened(packed=True)
        body = gzip.compress(b"one")
        call.received(PREFIX.pack(1, len(body)) + body)
        async with held.unpacking:
            request = asyncio.ensure_future(anext(call._requests()))
            await asyncio.sleep(0)
            call.closed()
        assert await request == b"one"
        assert held.bytes == 0

    asyncio.run(story())
