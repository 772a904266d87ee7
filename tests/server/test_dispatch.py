import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from pupil_proto.v1 import models_pb2 as pb
from pupil_server.call import Call
from pupil_server.dispatch import Dispatcher
from pupil_server.errors import Code, NotFound, Overloaded
from pupil_server.method import Failure, Method
from pupil_server.metrics import Metrics
from pupil_server.tokens import Scope


def dispatcher(*, max_calls: int = 10, stream_idle: float = 60.0) -> Dispatcher:
    return Dispatcher(Metrics(), max_calls=max_calls, stream_idle=stream_idle)


def call(seconds: float = 60.0) -> Call:
    return Call("test", time.monotonic() + seconds)


def unary(handler) -> Method:
    return Method("test.Service", "Method", pb.UnloadModelRequest, unary=handler)


def failure_of(handler, *, seconds: float = 60.0, carrier: Dispatcher | None = None) -> Failure:
    with pytest.raises(Failure) as raised:
        asyncio.run((carrier or dispatcher()).unary(unary(handler), b"", call(seconds)))
    return raised.value


def test_our_errors_keep_their_text_and_become_their_status() -> None:
    async def handler(request, call):
        raise NotFound("no model x; loaded: none")

    failure = failure_of(handler)
    assert (failure.code, failure.message) == (Code.NOT_FOUND, "no model x; loaded: none")


def test_an_unexpected_error_puts_nothing_on_the_wire_but_an_id_that_the_log_knows(caplog) -> None:
    async def handler(request, call):
        raise ValueError("the password is hunter2")

    with caplog.at_level(logging.ERROR):
        failure = failure_of(handler)
    assert failure.code == Code.INTERNAL
    assert "hunter2" not in failure.message
    incident = failure.message.split()[-1]
    assert incident in caplog.text
    assert "hunter2" in caplog.text


def test_an_overload_says_when_to_come_back() -> None:
    async def handler(request, call):
        raise Overloaded("full", retry_after=0.25)

    failure = failure_of(handler)
    assert (failure.code, failure.trailers) == (Code.RESOURCE_EXHAUSTED, {"retry-after-ms": "250"})


def test_a_handler_that_hangs_ends_at_the_deadline() -> None:
    ended = []

    async def handler(request, call):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    assert failure_of(handler, seconds=0.05).code == Code.DEADLINE_EXCEEDED
    assert ended == [True]


def test_each_of_many_calls_ends_at_its_own_deadline_and_the_others_go_on() -> None:
    async def run() -> list[object]:
        carrier, go_on = dispatcher(max_calls=100), asyncio.Event()

        async def handler(request, call):
            await go_on.wait()
            return pb.UnloadModelResponse()

        seconds = [0.05, 60, 0.01, 60, 0.1]
        inside = [asyncio.create_task(carrier.unary(unary(handler), b"", call(each))) for each in seconds]
        hung_up = asyncio.create_task(carrier.unary(unary(handler), b"", call(0.05)))
        await asyncio.sleep(0)
        hung_up.cancel()
        await asyncio.wait([inside[0], inside[2], inside[4], hung_up], timeout=20)
        assert hung_up.cancelled()
        assert not inside[1].done()
        go_on.set()
        return await asyncio.gather(*inside, return_exceptions=True)

    ends = asyncio.run(run())
    assert [getattr(end, "code", end) for end in ends] == [
        Code.DEADLINE_EXCEEDED,
        b"",
        Code.DEADLINE_EXCEEDED,
        b"",
        Code.DEADLINE_EXCEEDED,
    ]


def test_a_call_that_arrives_after_its_deadline_never_reaches_its_handler() -> None:
    reached = []

    async def handler(request, call):
        reached.append(True)

    assert failure_of(handler, seconds=-1).code == Code.DEADLINE_EXCEEDED
    assert reached == []


def test_more_calls_than_allowed_are_turned_away_and_the_others_are_answered() -> None:
    async def run() -> None:
        carrier, go_on = dispatcher(max_calls=2), asyncio.Event()

        async def handler(request, call):
            await go_on.wait()
            return pb.UnloadModelResponse()

        inside = [asyncio.create_task(carrier.unary(unary(handler), b"", call())) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Failure) as turned_away:
            await carrier.unary(unary(handler), b"", call())
        assert turned_away.value.code == Code.RESOURCE_EXHAUSTED
        go_on.set()
        assert await asyncio.gather(*inside) == [b"", b""]

    asyncio.run(run())


def test_draining_refuses_new_calls_and_waits_for_those_inside() -> None:
    async def run() -> None:
        carrier, go_on = dispatcher(), asyncio.Event()

        async def handler(request, call):
            await go_on.wait()
            return pb.UnloadModelResponse()

        inside = asyncio.create_task(carrier.unary(unary(handler), b"", call()))
        await asyncio.sleep(0)
        draining = asyncio.create_task(carrier.drain(60))
        await asyncio.sleep(0)
        with pytest.raises(Failure) as refused:
            await carrier.unary(unary(handler), b"", call())
        assert refused.value.code == Code.UNAVAILABLE
        assert not draining.done()
        go_on.set()
        await draining
        assert inside.done()

    asyncio.run(run())


def test_a_probe_is_answered_under_overload_and_while_draining() -> None:
    async def run() -> None:
        carrier, go_on = dispatcher(max_calls=1), asyncio.Event()

        async def handler(request, call):
            await go_on.wait()
            return pb.UnloadModelResponse()

        async def well(request, call):
            return pb.UnloadModelResponse()

        probe = Method("test.Service", "Probe", pb.UnloadModelRequest, Scope.OPEN, unary=well)
        inside = asyncio.create_task(carrier.unary(unary(handler), b"", call()))
        await asyncio.sleep(0)
        assert await carrier.unary(probe, b"", call()) == b""
        draining = asyncio.create_task(carrier.drain(60))
        await asyncio.sleep(0)
        assert await carrier.unary(probe, b"", call()) == b""
        go_on.set()
        await asyncio.gather(inside, draining)

    asyncio.run(run())


def test_draining_does_not_wait_longer_than_its_grace_for_a_call_that_hangs() -> None:
    async def run() -> None:
        carrier = dispatcher()

        async def handler(request, call):
            await asyncio.Event().wait()

        inside = asyncio.create_task(carrier.unary(unary(handler), b"", call()))
        await asyncio.sleep(0)
        await carrier.drain(0.01)
        assert not inside.done()
        inside.cancel()

    asyncio.run(run())


def test_a_stream_on_which_nothing_comes_is_ended() -> None:
    async def echo(
        requests: AsyncIterator[pb.UnloadModelRequest], call: Call
    ) -> AsyncGenerator[pb.UnloadModelRequest, None]:
        async for request in requests:
            yield request

    async def two_then_silence() -> AsyncGenerator[bytes, None]:
        yield pb.UnloadModelRequest(name="a").SerializeToString()
        yield pb.UnloadModelRequest(name="b").SerializeToString()
        await asyncio.Event().wait()

    async def run() -> tuple[list[bytes], Failure]:
        method = Method("test.Service", "Method", pb.UnloadModelRequest, both_streams=echo)
        answers = []
        with pytest.raises(Failure) as raised:
            async for answer in dispatcher(stream_idle=0.05).both_streams(method, two_then_silence(), call()):
                answers.append(pb.UnloadModelRequest.FromString(answer).name)
        return answers, raised.value

    answers, failure = asyncio.run(run())
    assert answers == ["a", "b"]
    assert failure.code == Code.DEADLINE_EXCEEDED
    assert "no message on the stream for 0.05 s" in failure.message
