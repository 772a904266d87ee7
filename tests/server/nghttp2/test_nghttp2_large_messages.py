"""Messages that come in many frames, seen from the other end of a socket."""

import asyncio

import pytest

DATA, WINDOW_UPDATE, END_STREAM, INITIAL_WINDOW = 0, 8, 1, 4
WINDOW, FRAME = 2**20, 16_384  # of a stream, which the server announces, and of most clients
CONNECTION = 2**24  # the window that all streams share


@pytest.mark.parametrize("path", ["/test.Echo/One", "/test.Echo/Talk"])
def test_a_message_of_several_windows_comes_in_as_far_as_each_window_is_opened(tools, path) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect((INITIAL_WINDOW, 2**24))
            peer.send(tools.frame(WINDOW_UPDATE, 0, 0, (2**24).to_bytes(4)), peer.head(1, path))
            whole, sent = tools.message("x" * 3_500_000), 0
            while sent < len(whole):
                await peer.until(lambda sent=sent: WINDOW + peer.window.get(1, 0) >= sent + FRAME)
                part = whole[sent : sent + FRAME]
                sent += len(part)
                peer.send(tools.frame(DATA, END_STREAM if sent == len(whole) else 0, 1, part))
            assert tools.names((await peer.answer(1)).body) == ["x" * 3_500_000]
            assert peer.window[1] < sent

    asyncio.run(asyncio.wait_for(test(), 60))


def test_the_window_of_the_connection_is_given_back_however_many_calls_it_carries(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            body, sent, streams = tools.message("x" * 1_000_000), 0, range(1, 81, 2)
            for stream in streams:
                peer.send(peer.head(stream, "/test.Echo/Fail"))
                for at in range(0, len(body), FRAME):
                    part = body[at : at + FRAME]
                    sent += len(part)
                    await peer.until(lambda sent=sent: 65_535 + peer.window[0] >= sent)
                    peer.send(tools.frame(DATA, END_STREAM if at + FRAME >= len(body) else 0, stream, part))
                assert (await peer.answer(stream)).headers["grpc-status"] == "5"
            assert sent > 2 * CONNECTION

    asyncio.run(asyncio.wait_for(test(), 60))
