"""The listening socket of the lean front."""

import asyncio
import ssl
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any

from pupil_server.dispatch import Dispatcher
from pupil_server.method import Method
from pupil_server.nghttp2.arrivals import Arrivals
from pupil_server.nghttp2.binding import VERSION, check, ffi, lib
from pupil_server.nghttp2.connection import Connection
from pupil_server.nghttp2.head import read_head
from pupil_server.nghttp2.limits import PeerLimits, limits_of
from pupil_server.nghttp2.server_call import Held
from pupil_server.settings import ServerSettings

HEADS = 256  # of calls; each is at most as large as the limit of header bytes
LINGER = 0.5  # seconds in which the peers hear that we leave
FAREWELL = 1.0  # seconds for the last bytes to leave
HANDSHAKE = 10.0  # seconds for TLS


class NgHttp2Front:
    """Serves a table of methods. It has the shape of `GrpcFront`."""

    name = "nghttp2"
    version = VERSION

    def __init__(
        self,
        methods: Iterable[Method],
        dispatcher: Dispatcher,
        settings: ServerSettings,
        *,
        tls: ssl.SSLContext | None = None,
        limits: PeerLimits | None = None,
    ) -> None:
        self.dispatcher = dispatcher
        self.limits = limits or limits_of(settings)
        self.arrivals = Arrivals(dispatcher)
        self.held = Held(self.limits.held_bytes)
        self.options = _options(self.limits)
        by_path = {f"/{method.path}".encode(): method for method in methods}
        self.head = lru_cache(HEADS)(partial(read_head, methods=by_path, default_deadline=settings.default_deadline))
        self.connections: set[Connection] = set()
        self.last_read: Connection | None = None  # the one that something came from last
        self._address, self._unix = (settings.host, settings.port), settings.unix
        self._reuse_port = settings.workers > 1
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._looking: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()  # the last connection

    async def start(self) -> int:
        """Listens; returns the port, 0 of a socket file. Raises OSError where it is taken."""
        host, port = self._address
        loop, patience = asyncio.get_running_loop(), HANDSHAKE if self._tls else None
        try:
            if self._unix:
                self._server = await loop.create_unix_server(
                    lambda: Connection(self),
                    self._unix,
                    backlog=self.limits.backlog,
                    ssl=self._tls,
                    ssl_handshake_timeout=patience,
                )
            else:
                self._server = await loop.create_server(
                    lambda: Connection(self),
                    host,
                    port,
                    backlog=self.limits.backlog,
                    reuse_port=self._reuse_port,
                    ssl=self._tls,
                    ssl_handshake_timeout=patience,
                )
        except OSError as error:
            where = self._unix or f"{host}:{port}"
            raise OSError(f"{where} is in use or not ours to use; choose another one: {error.strerror}") from error
        self._looking = asyncio.create_task(self._look())
        return 0 if self._unix else int(self._server.sockets[0].getsockname()[1])

    async def leave(self) -> None:
        """Closes the door, and asks the peers to go; calls that they send before they hear it are still served."""
        if self._server:
            self._server.close()
        for connection in list(self.connections):
            connection.announce_end()
        await self._until_gone(LINGER)
        for connection in list(self.connections):
            connection.leave()

    async def stop(self, grace: float) -> None:
        """Closes the door, waits at most `grace` seconds for the calls inside, and tells the rest."""
        if not self._server or not self._looking:
            return
        self._server.close()
        for connection in list(self.connections):
            connection.leave()
        await self._until_gone(grace)
        self._looking.cancel()
        for connection in list(self.connections):
            connection.end()
        await self._until_gone(FAREWELL)
        for connection in list(self.connections):
            connection.abort()
        await self._until_gone(FAREWELL)

    def left(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if self.last_read is connection:
            self.last_read = None
        if not self.connections:
            self._gone.set()

    async def _until_gone(self, seconds: float) -> None:
        if self.connections:
            self._gone.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), seconds)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self.limits.look_every)
            now = time.monotonic()
            for connection in list(self.connections):
                connection.look(now)


def _options(limits: PeerLimits) -> Any:
    """The library's own defences, and flow control left to us."""
    made = ffi.new("nghttp2_option **")
    check(lib.nghttp2_option_new(made))
    lib.nghttp2_option_set_no_auto_window_update(made[0], 1)
    lib.nghttp2_option_set_no_closed_streams(made[0], 1)
    lib.nghttp2_option_set_stream_reset_rate_limit(made[0], limits.resets, limits.resets_a_second)
    lib.nghttp2_option_set_max_continuations(made[0], 8)
    return ffi.gc(made[0], lib.nghttp2_option_del)
