"""The front on grpcio: it carries bytes between grpc.aio and the dispatcher, and knows no message but by its method."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
import grpc.aio

from pupil_server.call import Call
from pupil_server.dispatch import Dispatcher
from pupil_server.logs import call_id
from pupil_server.method import Failure, Method
from pupil_server.reloaded import Reloaded
from pupil_server.resources import most_files
from pupil_server.settings import MEGA, ServerSettings
from pupil_server.tls import Certificates

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Carry: TypeAlias = Callable[[Method, Any, Call], AsyncGenerator[bytes, None]]  # one of the dispatcher's two streams
LINGER = 0.5  # seconds in which latecomers are still refused in words: grpcio cancels what arrives while it closes
STATUS = {status.value[0]: status for status in grpc.StatusCode}


class GrpcFront:
    """A listening grpc.aio server over a table of methods."""

    name = "grpcio"

    def __init__(
        self,
        methods: Iterable[Method],
        dispatcher: Dispatcher,
        settings: ServerSettings,
        certificates: Reloaded[Certificates] | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._certificates = certificates
        self._default_deadline = settings.default_deadline
        self._address = f"unix:{settings.unix}" if settings.unix else f"{settings.host}:{settings.port}"
        self._started = False
        self._server = grpc.aio.server(options=_options(settings))
        by_service: dict[str, dict[str, grpc.RpcMethodHandler[bytes, bytes]]] = {}
        for method in methods:
            by_service.setdefault(method.service, {})[method.name] = self._handler(method)
        for service, handlers in by_service.items():
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))

    async def start(self) -> int:
        """Listens; returns the port. Raises OSError where it is taken."""
        most_files()  # it has no limit of connections
        address = self._address
        try:
            if self._certificates:
                bound = self._server.add_secure_port(address, _credentials(self._certificates))
            else:
                bound = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"{address} is in use or not ours to use; choose another one") from error
        await self._server.start()
        self._started = True
        return bound

    async def leave(self) -> None:
        """It has no word for that: whoever calls meanwhile is refused by the dispatcher."""

    async def stop(self, grace: float) -> None:
        """Closes the door, and waits at most `grace` seconds for the calls inside."""
        if self._started:
            await asyncio.sleep(LINGER)
        await self._server.stop(grace)

    def _handler(self, method: Method) -> "grpc.RpcMethodHandler[bytes, bytes]":
        if method.unary:
            return grpc.unary_unary_rpc_method_handler(self._unary(method))
        if method.server_stream:
            return grpc.unary_stream_rpc_method_handler(self._stream(method, self._dispatcher.server_stream))
        return grpc.stream_stream_rpc_method_handler(self._stream(method, self._dispatcher.both_streams))

    def _unary(self, method: Method) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def handle(request: bytes, context: Context) -> bytes:
            call = _call(method, context, self._default_deadline)
            try:
                return await self._dispatcher.unary(method, request, call)
            except Failure as failure:
                refusal = failure.without_trace()
            del request
            raise await _abort(context, refusal, call)

        return handle

    def _stream(self, method: Method, carry: Carry) -> Callable[[Any, Context], AsyncIterator[bytes]]:
        async def handle(request: Any, context: Context) -> AsyncIterator[bytes]:
            call = _call(method, context)
            try:
                async with aclosing(carry(method, request, call)) as answers:
                    async for answer in answers:
                        yield answer
                return
            except Failure as failure:
                refusal = failure.without_trace()
            del request
            raise await _abort(context, refusal, call)

        return handle


def _call(method: Method, context: Context, default_deadline: float = float("inf")) -> Call:
    remaining = context.time_remaining()
    seconds = default_deadline if remaining is None else remaining
    metadata: dict[str, Any] = dict(context.invocation_metadata() or ())
    call = Call(method.path, time.monotonic() + seconds, context.peer(), metadata, id=call_id(metadata))
    context.set_trailing_metadata((("x-request-id", call.id),))
    return call


async def _abort(context: Context, failure: Failure, call: Call) -> Failure:
    """Ends the call with the failure's status; grpcio raises from here, and keeps the frames that it passes for long.

    So nothing that is large may be in them.
    """
    context.set_trailing_metadata((("x-request-id", call.id), *failure.trailers.items()))
    try:
        await context.abort(STATUS[int(failure.code)], failure.message)
    except grpc.aio.InternalError:  # the caller went in this very moment: nobody is left to be told
        raise asyncio.CancelledError from None
    return failure


def _credentials(certificates: Reloaded[Certificates]) -> grpc.ServerCredentials:
    """Asked before each handshake, so that new certificates hold for the next connection."""
    in_force = certificates.content

    def newer() -> grpc.ServerCertificateConfiguration | None:
        nonlocal in_force
        if certificates.content is in_force:
            return None
        in_force = certificates.content
        return _configuration(in_force)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(in_force),
        newer,  # type: ignore[arg-type]  # None means no change, which the stub does not know
        require_client_authentication=bool(in_force.client_ca),
    )


def _configuration(found: Certificates) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(found.key, found.chain)], found.client_ca or None)


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    message_bytes = settings.max_message_mb * MEGA
    age, grace = settings.max_connection_age, settings.max_connection_grace
    return [
        *([("grpc.max_connection_age_ms", round(age * 1000))] if age else []),
        *([("grpc.max_connection_age_grace_ms", round(grace * 1000))] if grace else []),
        ("grpc.max_receive_message_length", message_bytes),
        ("grpc.max_send_message_length", message_bytes),
        ("grpc.so_reuseport", int(settings.workers > 1)),  # else two servers on one port would share it in silence
        ("grpc.max_concurrent_streams", settings.max_streams),
        ("grpc.keepalive_time_ms", round(settings.keepalive * 1000)),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ]
