"""What one worker is told to change, every worker changes."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from pupil_server.call import Call
from pupil_server.dispatch import Dispatcher
from pupil_server.errors import Code, ElsewhereFailed
from pupil_server.grpc_front import GrpcFront
from pupil_server.method import Method
from pupil_server.metrics import Metrics
from pupil_server.settings import ServerSettings
from pupil_server.tokens import Scope
from pupil_server.workers.place import Place

LOOK_AGAIN = 0.02  # seconds between two looks whether a sibling has finished its change


def control_front(methods: Iterable[Method], settings: ServerSettings, place: Place) -> GrpcFront:
    """The table on a socket for siblings alone: they have asked for the token, and have counted the call."""
    dispatcher = Dispatcher(Metrics(), max_calls=settings.max_calls, stream_idle=settings.stream_idle)
    return GrpcFront(methods, dispatcher, replace(settings, unix=place.control))


def on_every_worker(method: Method, place: Place) -> Method:
    """A method that changes something does it here, then at each sibling; any other stays as it is."""
    here = method.unary
    if method.scope is not Scope.ADMIN or here is None:
        return method

    async def everywhere(request: Any, call: Call) -> Message:
        async with _one_at_a_time(place.changing):
            answer = await here(request, call)
            body = request.SerializeToString()
            errors = await asyncio.gather(*(_repeat(method, body, call, sibling) for sibling in place.siblings))
        failed = {sibling: error for sibling, error in zip(place.siblings, errors, strict=True) if error}
        if failed:
            raise _failure(failed)
        return answer

    return replace(method, unary=everywhere)


def none_meanwhile(place: Place | None) -> AbstractAsyncContextManager[None]:
    """No change while a worker that is started anew catches up with the others; else nothing has to wait."""
    return _one_at_a_time(place.changing) if place and place.anew else nullcontext()


@asynccontextmanager
async def _one_at_a_time(file: Path) -> AsyncIterator[None]:
    """Two changes at once would reach the workers in two orders. The kernel takes the lock from a worker that dies."""
    held = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while not _locked(held):  # noqa: ASYNC110  another process has no event for us; the call's deadline ends it
            await asyncio.sleep(LOOK_AGAIN)
        yield
    finally:
        os.close(held)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _repeat(method: Method, request: bytes, call: Call, sibling: Place) -> grpc.aio.AioRpcError | None:
    """Asks a sibling for the same; returns why it did not do it."""
    async with grpc.aio.insecure_channel(f"unix:{sibling.control}") as channel:
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{method.path}")
        try:
            await ask(request, timeout=max(0.0, call.remaining()), metadata=(("x-request-id", call.id),))
        except grpc.aio.AioRpcError as error:
            return error
    return None


def _failure(failed: Mapping[Place, grpc.aio.AioRpcError]) -> ElsewhereFailed:
    told = "; ".join(f"{sibling} has not done it: {_why(error)}" for sibling, error in failed.items())
    number = next(iter(failed.values())).code().value[0]
    return ElsewhereFailed(Code(number) if number in set(Code) else Code.INTERNAL, told)


def _why(error: grpc.aio.AioRpcError) -> str:
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return "it is being started, or has just ended"  # grpcio's own words are about sockets
    return error.details() or error.code().name
