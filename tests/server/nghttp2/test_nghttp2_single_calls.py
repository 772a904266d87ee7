import asyncio

import pytest

from pupil_server.errors import Code


@pytest.mark.parametrize("names", [[], ["one", "two"]], ids=str)
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_call_that_gets_no_message_or_several_is_refused_however_they_are_split(
    tools, names: list[str], frames: int
) -> None:
    async def story() -> None:
        async with tools.lean() as served:
            peer = await served.connect()
            wire = b"".join(map(tools.message, names))
            size = len(wire) // frames + 1
            parts = [wire[first : first + size] for first in range(0, len(wire), size)]
            peer.send(peer.head(1, "/test.Echo/One"), *(tools.frame(0, 0, 1, part) for part in parts))
            if not names:
                peer.send(tools.frame(0, 1, 1))  # the end, for which several are not waited for
            answer = await peer.answer(1)
            assert answer.headers["grpc-status"] == str(Code.UNIMPLEMENTED.value)
            assert answer.headers["grpc-message"].endswith("one is wanted")
            assert not served.handlers.calls
            await served.works()

    asyncio.run(story())


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_a_message_is_the_same_in_however_many_frames_it_comes(tools, frames: int) -> None:
    async def story() -> None:
        async with tools.lean() as served:
            peer = await served.connect()
            wire = tools.message("x" * 1000)
            size = len(wire) // frames + 1
            parts = [wire[first : first + size] for first in range(0, len(wire), size)]
            peer.send(peer.head(1, "/test.Echo/One"), *(tools.frame(0, 0, 1, part) for part in parts))
            peer.send(tools.frame(0, 1, 1))
            assert tools.names((await peer.answer(1)).body) == ["x" * 1000]

    asyncio.run(story())
