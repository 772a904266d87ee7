"""Calls that are answered in the turn that brought them, seen from the other end of a socket."""

import asyncio
import gzip

from pupil_server.errors import Code

DATA, RST_STREAM, END_STREAM, CANCEL = 0, 3, 1, 8
NOW, ONE = "/test.Echo/Now", "/test.Echo/One"


def run(test) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def asked(tools, peer, stream: int, name: str, path: str = NOW) -> tuple[bytes, bytes]:
    """The frames of a call."""
    return peer.head(stream, path), tools.frame(DATA, END_STREAM, stream, tools.message(name))


def test_an_answer_at_once_looks_as_any_other(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            answers = []
            for stream, path in ((1, ONE), (3, NOW)):
                peer.ask(stream, path, tools.message("same"), ("x-request-id", "mine"))
                answers.append(await peer.answer(stream))
            assert lean.handlers.together == [[tools.message("same")[5:]]]
            assert answers[0] == answers[1]
            assert answers[1].headers["x-request-id"] == "mine"

    run(test())


def test_calls_of_one_read_get_their_own_answers_at_once_or_later(tools) -> None:
    calls = {1: "a", 3: "later b", 5: "c", 7: "later d", 9: "e"}

    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            frames = [part for stream, name in calls.items() for part in asked(tools, peer, stream, name)]
            peer.send(*frames, *asked(tools, peer, 11, "usual", ONE))
            for stream, name in {**calls, 11: "usual"}.items():
                assert tools.names((await peer.answer(stream)).body) == [name]
            assert sum(map(len, lean.handlers.together)) == len(calls)
            assert len(lean.handlers.calls) == 3

    run(test())


def test_a_call_that_is_taken_back_in_the_same_read_is_asked_of_nobody(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            frames = [part for stream in (1, 3, 5) for part in asked(tools, peer, stream, f"call {stream}")]
            peer.send(*frames, tools.frame(RST_STREAM, 0, 3, CANCEL.to_bytes(4)))
            for stream in (1, 5):
                assert tools.names((await peer.answer(stream)).body) == [f"call {stream}"]
            seen = [request for together in lean.handlers.together for request in together]
            assert seen == [tools.message(f"call {stream}")[5:] for stream in (1, 5)]
            assert 3 not in peer.answers

    run(test())


def test_a_compressed_request_and_one_in_pieces_are_answered_too(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            packed = tools.message(compressed=gzip.compress(tools.message("packed")[5:]))
            peer.ask(1, NOW, packed, ("grpc-encoding", "gzip"))
            assert tools.names((await peer.answer(1)).body) == ["packed"]
            assert not lean.handlers.together
            whole = tools.message("x" * 3000)
            parts = [tools.frame(DATA, 0, 3, whole[at : at + 7]) for at in range(0, len(whole), 7)]
            peer.send(peer.head(3, NOW), *parts, tools.frame(DATA, END_STREAM, 3))
            assert tools.names((await peer.answer(3)).body) == ["x" * 3000]
            assert len(lean.handlers.together) == 1

    run(test())


def test_while_it_drains_nothing_is_answered_at_once(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            await lean.dispatcher.drain(0)
            peer.ask(1, NOW, tools.message("late"))
            assert (await peer.answer(1)).headers["grpc-status"] == str(Code.UNAVAILABLE.value)
            assert not lean.handlers.together

    run(test())


def test_an_error_of_ours_loses_none_of_the_calls_that_came_together(tools, caplog) -> None:
    names = ["a", "broken", "c"]

    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            calls = list(zip((1, 3, 5), names, strict=True))
            peer.send(*(part for stream, name in calls for part in asked(tools, peer, stream, name)))
            for stream, name in calls:
                assert tools.names((await peer.answer(stream)).body) == [name]
            assert len(lean.handlers.calls) == 3
        assert "the usual way" in caplog.text

    run(test())
