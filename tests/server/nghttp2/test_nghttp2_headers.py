"""Headers that repeat: callers send the same ones with each call, and so do we."""

import asyncio
import time

import pytest

HEADERS = 1
END_HEADERS = 4
ONE = "/test.Echo/One"


def run(test) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def test_calls_with_the_same_headers_have_an_id_and_a_deadline_each(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            for _ in range(2):  # what one connection has said holds for another
                peer = await lean.connect()
                for stream in (1, 3):
                    peer.ask(stream, ONE, tools.message(), ("grpc-timeout", "9S"), ("who", "me"))
                    assert (await peer.answer(stream)).headers["x-request-id"] == lean.handlers.calls[-1].id
                    assert 0 < lean.handlers.calls[-1].deadline - time.monotonic() <= 9
        calls = lean.handlers.calls
        assert [call.metadata for call in calls] == [{"who": "me"}] * 4
        assert len({call.id for call in calls}) == 4
        assert len({call.deadline for call in calls}) == 4
        assert len({call.peer for call in calls}) == 2

    run(test())


@pytest.mark.parametrize("changed", [("who", "you"), ("x-request-id", "mine"), ("grpc-timeout", "5S"), ("new", "x")])
def test_one_header_that_differs_is_seen(tools, changed: tuple[str, str]) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            usual = {"grpc-timeout": "9S", "who": "me", "x-request-id": "theirs"}
            for stream, headers in ((1, usual), (3, usual | dict([changed])), (5, usual)):
                peer.ask(stream, ONE, tools.message(), *headers.items())
                assert (await peer.answer(stream)).headers["x-request-id"] == headers["x-request-id"]
                call = lean.handlers.calls[-1]
                left = headers.pop("grpc-timeout")
                assert call.metadata == headers
                assert float(left[:-1]) - 4 < call.deadline - time.monotonic() <= float(left[:-1])
                headers["grpc-timeout"] = left

    run(test())


def test_callers_who_never_say_the_same_twice_cost_no_memory(tools) -> None:
    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            most = lean.front.head.cache_info().maxsize
            for number in range(most + 50):
                peer.ask(2 * number + 1, ONE, tools.message(), ("x-request-id", f"call-{number}"))
                await peer.answer(2 * number + 1)
            assert lean.front.head.cache_info().currsize == most

    run(test())


def test_what_every_answer_says_stays_in_the_peers_table_however_many_calls(tools) -> None:
    """Ids differ from call to call; put into the table, they would drive the rest out every 60 calls."""

    async def test() -> None:
        async with tools.lean() as lean:
            peer = await lean.connect()
            for stream in range(1, 400, 2):
                peer.ask(stream, ONE, tools.message())
                await peer.answer(stream)
            heads = {s: p for kind, flags, s, p in peer.frames if kind == HEADERS and flags == END_HEADERS}
            assert len(heads) == 200
            assert {heads[stream] for stream in range(3, 400, 2)} == {heads[399]}
            assert len(heads[399]) == 3  # a byte a header: each is a place in the table

    run(test())
