"""Puts the parts together, starts them in order, and ends them in order."""

import asyncio
import logging
from typing import Any

from pupil_server.access_log import AccessLog
from pupil_server.decoding import Decoder
from pupil_server.dispatch import Dispatcher
from pupil_server.following import follow
from pupil_server.fronts import choose_front
from pupil_server.gateway import Gateway
from pupil_server.grpc_front import GrpcFront
from pupil_server.images import Limits
from pupil_server.listening import ReservedPort, is_loopback, try_socket_file
from pupil_server.live.watch import Watches
from pupil_server.liveness import Liveness
from pupil_server.metrics import Metrics
from pupil_server.operations import OperationsServer
from pupil_server.quotas import new_bucket
from pupil_server.reloaded import Reloaded
from pupil_server.repository import Repository
from pupil_server.resources import share_of_cores
from pupil_server.settings import MEGA, ServerSettings
from pupil_server.table import INFERENCE, SERVICES, methods
from pupil_server.tls import reloaded_certificates
from pupil_server.tokens import Tokens
from pupil_server.tracing import tracing_to
from pupil_server.workers.catching_up import loaded_elsewhere
from pupil_server.workers.changes import control_front, none_meanwhile, on_every_worker
from pupil_server.workers.listing import with_failures_elsewhere
from pupil_server.workers.place import Place

log = logging.getLogger("pupil.server")

SAVE = 30.0  # seconds between two writings of what the watch knows


class Server:
    """Everything of one server. `await start()`, then `await stop()`.

    With a `place` it is one of several workers: what it changes its siblings change too, and its HTTP is private.
    """

    def __init__(self, settings: ServerSettings, place: Place | None = None) -> None:
        self.settings = settings
        self._place = place
        self.metrics = Metrics()
        self._decoder = Decoder(Limits.of(settings), threads=share_of_cores(settings.workers), metrics=self.metrics)
        self.repository = Repository(settings, self._decoder, self.metrics)
        self.watches = Watches(settings, self.repository.get, self.metrics)
        self.repository.on_load(self.watches.attach)
        certificates = reloaded_certificates(settings)
        tokens = Tokens(settings.tokens, place.bucket if place else new_bucket) if settings.tokens else None
        self._reloaded: list[Reloaded[Any]] = [each for each in (certificates, tokens and tokens.file) if each]
        self._tracing = tracing_to(settings.otlp_endpoint)
        self._dispatcher = Dispatcher(
            self.metrics,
            max_calls=settings.max_calls,
            stream_idle=settings.stream_idle,
            tokens=tokens,
            access_log=AccessLog(settings.access_log),
            tracing=self._tracing,
        )
        self._methods = methods(
            self.repository, self.watches, self.metrics, self.is_ready, default_deadline=settings.default_deadline
        )
        self._control: GrpcFront | None = None
        if place:
            self._control = control_front(self._methods, settings, place)
            self._methods = [on_every_worker(with_failures_elsewhere(each, place), place) for each in self._methods]
        self._front = choose_front(self._methods, self._dispatcher, settings, certificates)
        self.metrics.front_info.labels(self._front.name).set(1)
        if not certificates and not settings.unix and not is_loopback(settings.host):
            log.warning("%s without TLS: whoever is on the way can read images and tokens", settings.host)
        self._ready = False
        self._liveness = Liveness(self.repository.loaded, self._reloaded, self.metrics, longest_batch=settings.watchdog)
        self._beating: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._operations: OperationsServer | None = None
        self.port = self.http_port = 0

    async def start(self) -> None:
        """Loads the models, then opens the doors. Raises BundleError or OSError, and nothing is left running then."""
        try:
            self._beating = asyncio.create_task(self._liveness.keep_beating())
            self._operations = OperationsServer(
                self._place.http if self._place else (self.settings.host, self.settings.http_port),
                registry=self.metrics.registry,
                is_live=self._liveness.why_not_live,
                is_ready=lambda: "" if self._ready else "loading or draining",
                gateway=self._gateway() if self.settings.http_gateway else None,
            )
            self.http_port = self._operations.port
            if self.settings.unix:
                try_socket_file(self.settings.unix)
            elif not self._place:
                ReservedPort(self.settings.host, self.settings.port).close()
            async with none_meanwhile(self._place):
                await self._load()
                if self._control:
                    await self._control.start()
            self.port = await self._front.start()
            if self.settings.watch:
                self._tasks.append(asyncio.create_task(follow(self.repository, self.settings.watch)))
            self._tasks.append(asyncio.create_task(self._keep_saving()))
        except BaseException:
            await self.stop()
            raise
        self._ready = True

    async def reload(self) -> None:
        """Reads certificates, tokens and the repository again; what cannot be used is logged, and changes nothing."""
        for file in self._reloaded:
            file.reload()
        await self.repository.rescan()

    async def stop(self) -> None:
        """Not serving, a pause for load balancers to notice, the calls in flight, then the rest."""
        was_ready, self._ready = self._ready, False
        for task in self._tasks:
            task.cancel()
        if was_ready:
            await asyncio.sleep(self.settings.drain_delay)
            await self._front.leave()
            await self._dispatcher.drain(self.settings.drain_grace)
        await self._front.stop(0)
        if self._control:
            await self._control.stop(0)
        await self.watches.close()
        await self.repository.close()
        self._decoder.close()
        if self._beating:
            self._beating.cancel()
        if self._operations:
            await asyncio.to_thread(self._operations.close)
        if self._tracing:
            await asyncio.to_thread(self._tracing.close)

    def is_ready(self, name: str) -> bool | None:
        """Whether a service or a model answers; None where there is none of that name."""
        if name in ("", *SERVICES):
            return self._ready
        loaded = self.repository.is_loaded(name)
        return None if loaded is None else self._ready and loaded

    async def _load(self) -> None:
        elsewhere = await loaded_elsewhere(self._place)
        if elsewhere is None:
            await self.repository.load_at_start()
        else:
            await self.repository.load_as_elsewhere(elsewhere)

    async def _keep_saving(self) -> None:
        while True:
            await asyncio.sleep(SAVE)
            await self.watches.save()

    def _gateway(self) -> Gateway:
        (classify,) = (method for method in self._methods if method.path == f"{INFERENCE}/Classify")
        return Gateway(
            asyncio.get_running_loop(),
            self._dispatcher,
            classify,
            default_deadline=self.settings.default_deadline,
            max_body=self.settings.max_message_mb * MEGA,
        )
