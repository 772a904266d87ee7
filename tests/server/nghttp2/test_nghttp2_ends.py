"""The end of a connection: the server's, the peer's, and that of both patience."""

import asyncio

import pytest

PING = 6
NO_ERROR = 0
ONE, HANG = "/test.Echo/One", "/test.Echo/Hang"


def run(test) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def test_who_is_sent_elsewhere_is_served_until_it_goes_and_nobody_else_comes_in(tools, monkeypatch) -> None:
    monkeypatch.setattr("pupil_server.nghttp2.front.LINGER", 30.0)

    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            leaving = asyncio.create_task(lean.front.leave())
            await peer.until(lambda: peer.goaway is not None)
            assert peer.goaway == NO_ERROR
            peer.ask(1, ONE, tools.message("on its way"))
            assert tools.names((await peer.answer(1)).body) == ["on its way"]
            with pytest.raises(ConnectionError):
                await lean.connect()
            assert not leaving.done()
            peer.writer.close()
            await leaving

    run(test())


def test_who_does_not_go_is_served_no_more(tools, monkeypatch) -> None:
    monkeypatch.setattr("pupil_server.nghttp2.front.LINGER", 0.01)

    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            peer.ask(1, HANG, tools.message("inside"))
            await lean.eventually(lambda: lean.handlers.begun == 1)
            await lean.front.leave()
            peer.ask(3, ONE, tools.message("too late"))
            lean.handlers.go_on.set()
            await peer.end()
            assert tools.names(peer.answers[1].body) == ["inside"]
            assert 3 not in peer.answers

    run(test())


def test_stopping_finishes_what_is_inside_refuses_the_rest_and_closes(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            peer.ask(1, HANG, tools.message("inside"))
            await lean.eventually(lambda: lean.handlers.begun == 1)
            stopping = asyncio.create_task(lean.front.stop(20))
            await peer.until(lambda: peer.goaway is not None)
            assert peer.goaway == NO_ERROR
            peer.ask(3, ONE, tools.message("too late"))
            lean.handlers.go_on.set()
            await peer.end()
            assert tools.names(peer.answers[1].body) == ["inside"]
            assert 3 not in peer.answers
            await stopping
            with pytest.raises(ConnectionError):
                await lean.connect()

    run(test())


def test_a_call_that_outlasts_the_grace_hears_unavailable(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            peer.ask(1, HANG, tools.message())
            await lean.eventually(lambda: lean.handlers.begun == 1)
            await lean.front.stop(0.01)
            await peer.end()
            assert peer.answers[1].headers["grpc-status"] == "14"
            await lean.eventually(lambda: lean.handlers.cancelled == 1)

    run(test())


@pytest.mark.parametrize("limit", ["age", "idle"])
def test_an_old_or_idle_connection_is_asked_to_go_and_loses_no_call(tools, limit: str) -> None:
    async def test() -> None:
        async with tools.lean(**{limit: 0.01}) as lean:
            peer = await lean.connect()
            if limit == "age":
                peer.ask(1, HANG, tools.message("inside"))
                await peer.until(lambda: peer.goaway is not None)
                lean.handlers.go_on.set()
            await peer.end()
            assert peer.goaway == NO_ERROR
            if limit == "age":
                assert tools.names(peer.answers[1].body) == ["inside"]

    run(test())


def test_a_silent_peer_is_pinged_and_dropped_when_it_does_not_answer(tools) -> None:
    async def test() -> None:
        async with tools.lean(ping_after=0.01, pong_within=1.5) as lean:
            peer = await lean.connect()
            await peer.end()
            assert PING in {kind for kind, flags, _, _ in peer.frames if not flags}

    run(test())
