"""Which front carries the calls."""

import logging
from collections.abc import Iterable
from typing import Protocol

from pupil_server.dispatch import Dispatcher
from pupil_server.grpc_front import GrpcFront
from pupil_server.method import Method
from pupil_server.reloaded import Reloaded
from pupil_server.settings import ServerSettings
from pupil_server.tls import Certificates, newest_context

log = logging.getLogger("pupil.server")


class Front(Protocol):
    """A listening socket over a table of methods."""

    name: str

    async def start(self) -> int: ...
    async def leave(self) -> None:
        """Sends callers elsewhere, where the front can, and still serves those that are on their way."""
        ...

    async def stop(self, grace: float) -> None: ...


def choose_front(
    methods: Iterable[Method],
    dispatcher: Dispatcher,
    settings: ServerSettings,
    certificates: Reloaded[Certificates] | None,
) -> Front:
    """The lean front where its library is here and no other was asked for. Raises OSError where it was, and is not."""
    if settings.front == "grpcio":
        return GrpcFront(methods, dispatcher, settings, certificates)
    try:
        from pupil_server.nghttp2.front import NgHttp2Front
    except ImportError as missing:
        if settings.front == "nghttp2":
            raise OSError(f"--front nghttp2: {missing}") from missing
        log.warning("grpcio carries the calls, at several times the cost: %s", missing)
        return GrpcFront(methods, dispatcher, settings, certificates)
    log.info("libnghttp2 %s carries the calls", NgHttp2Front.version)
    tls = newest_context(certificates) if certificates else None
    return NgHttp2Front(methods, dispatcher, settings, tls=tls)
