"""Messages that come in many frames, seen from the other end of a socket."""

import asyncio

import pytest

DATA, WINDOW_UPDATE, END_STREAM, INITIAL_WINDOW = 0, 8, 1, 4
WINDOW, FRAME = 2**20, 16_384  # of a stream, which the server announces, and of most clients


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
