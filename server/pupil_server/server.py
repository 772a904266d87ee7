"""Puts the parts together, starts them in order, and ends them in order."""

import asyncio
import ipaddress
import logging
import time
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from pupil_proto.v1 import inference_pb2, models_pb2
from pupil_server.access_log import AccessLog
from pupil_server.decoding import Decoder
from pupil_server.dispatch import Dispatcher, Method
from pupil_server.errors import BundleError
from pupil_server.fronts import choose_front
from pupil_server.gateway import Gateway
from pupil_server.grpc_front import GrpcFront
from pupil_server.health import HealthHandlers
from pupil_server.inference import InferenceHandlers
from pupil_server.live.watch import Watches
from pupil_server.loading import limits
from pupil_server.metrics import Metrics
from pupil_server.model_handlers import ModelHandlers
from pupil_server.oip import table as oip
from pupil_server.oip.names import SERVICE as OIP
from pupil_server.oip.reflection import descriptor_pool
from pupil_server.operations import OperationsServer
from pupil_server.pseudo_label import PseudoLabelHandler
from pupil_server.quotas import new_bucket
from pupil_server.repository import Repository
from pupil_server.resources import share_of_cores
from pupil_server.seen_handler import SeenHandler
from pupil_server.settings import MEGA, ServerSettings
from pupil_server.tls import watched_certificates
from pupil_server.tokens import Scope, Tokens
from pupil_server.tracing import tracing_to
from pupil_server.watch_handlers import WatchHandlers
from pupil_server.watched import Watched
from pupil_server.watching import watch
from pupil_server.workers.catching_up import loaded_elsewhere
from pupil_server.workers.changes import control_front, none_meanwhile, on_every_worker
from pupil_server.workers.place import Place

log = logging.getLogger("pupil.server")

INFERENCE, MODELS = "pupil.v1.Inference", "pupil.v1.Models"
HEALTH, REFLECTION = "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"
BEAT = 0.5  # seconds between two beats of the loop
SAVE = 30.0  # seconds between two writings of what the watch knows
SILENT = 10.0  # seconds without a beat after which the loop counts as hung
LINGER = 0.5  # seconds in which latecomers are still refused in words: grpcio cancels what arrives while it closes


class Server:
    """Everything of one server. `await start()`, then `await stop()`.

    With a `place` it is one of several workers: what it changes its siblings change too, and its HTTP is private.
    """

    def __init__(self, settings: ServerSettings, place: Place | None = None) -> None:
        self.settings = settings
        self._place = place
        self.metrics = Metrics()
        self._decoder = Decoder(limits(settings), threads=share_of_cores(settings.workers), metrics=self.metrics)
        self.repository = Repository(settings, self._decoder, self.metrics)
        self.watches = Watches(settings, self.repository.use, self.metrics)
        self.repository.on_load(self.watches.attach)
        certificates = watched_certificates(settings)
        tokens = Tokens(settings.tokens, place.bucket if place else new_bucket) if settings.tokens else None
        self._watched: list[Watched[Any]] = [each for each in (certificates, tokens and tokens.file) if each]
        self._tracing = tracing_to(settings.otlp_endpoint)
        self._dispatcher = Dispatcher(
            self.metrics,
            max_calls=settings.max_calls,
            stream_idle=settings.stream_idle,
            tokens=tokens,
            access_log=AccessLog(settings.access_log),
            tracing=self._tracing,
        )
        self._methods = self._all_methods()
        self._control: GrpcFront | None = None
        if place:
            self._control = control_front(self._methods, settings, place)
            self._methods = [on_every_worker(method, place) for method in self._methods]
        self._front = choose_front(self._methods, self._dispatcher, settings, certificates)
        self.metrics.front_info.labels(self._front.name).set(1)
        if not certificates and not settings.unix and not _is_loopback(settings.host):
            log.warning("%s without TLS: whoever is on the way can read images and tokens", settings.host)
        self._ready = False
        self._beat = time.monotonic()
        self._hung = ""
        self._heart: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._saver: asyncio.Task[None] | None = None
        self._operations: OperationsServer | None = None
        self.port = self.http_port = 0

    async def start(self) -> None:
        """Loads the models, then opens the doors. Raises BundleError or OSError, and nothing is left running then."""
        try:
            self._heart = asyncio.create_task(self._keep_beating())
            self._operations = OperationsServer(
                self._place.http if self._place else (self.settings.host, self.settings.http_port),
                registry=self.metrics.registry,
                is_live=self._why_not_live,
                is_ready=lambda: "" if self._ready else "loading or draining",
                gateway=self._gateway() if self.settings.http_gateway else None,
            )
            self.http_port = self._operations.port
            async with none_meanwhile(self._place):
                await self._load()
                if self._control:
                    await self._control.start("", 0)
            self.port = await self._front.start(self.settings.host, self.settings.port)
            if self.settings.watch:
                self._watcher = asyncio.create_task(watch(self.repository, self.settings.watch))
            self._saver = asyncio.create_task(self._keep_saving())
        except BaseException:
            await self.stop()
            raise
        self._ready = True

    async def reload(self) -> None:
        """Reads certificates, tokens and the repository again; what cannot be used is logged, and changes nothing."""
        for watched in self._watched:
            watched.reload()
        await self.repository.rescan()

    async def stop(self) -> None:
        """Not serving, a pause for load balancers to notice, the calls in flight, then the rest."""
        was_ready, self._ready = self._ready, False
        for task in (self._watcher, self._saver):
            if task:
                task.cancel()
        if was_ready:
            await asyncio.sleep(self.settings.drain_delay)
            await self._dispatcher.drain(self.settings.drain_grace)
            await asyncio.sleep(LINGER)
        await self._front.stop(0)
        if self._control:
            await self._control.stop(0)
        await self.watches.close()
        await self.repository.close()
        self._decoder.close()
        if self._heart:
            self._heart.cancel()
        if self._operations:
            await asyncio.to_thread(self._operations.close)
        if self._tracing:
            await asyncio.to_thread(self._tracing.close)

    def is_ready(self, name: str) -> bool | None:
        """Whether a service or a model answers; None where there is none of that name."""
        if name in ("", INFERENCE, MODELS, OIP):
            return self._ready
        loaded = self.repository.is_loaded(name)
        return None if loaded is None else self._ready and loaded

    async def _load(self) -> None:
        names = self._names()
        elsewhere = await loaded_elsewhere(self._place) if self._place and self._place.anew else None
        if elsewhere is None:
            for name in names:
                await self.repository.load_at_start(name)
        else:
            for name in dict.fromkeys((*names, *elsewhere)):
                await self.repository.load_as_elsewhere(name, elsewhere.get(name, {}))

    def _names(self) -> list[str]:
        on_disk = self.repository.on_disk()
        if not on_disk:
            raise BundleError(
                f"{self.settings.repository}: no <model>/<version>/bundle.json here; write one with pupil export"
            )
        for name in self.settings.models:
            if name not in on_disk:
                raise BundleError(f"{self.settings.repository}: no model {name}; it has: {', '.join(on_disk)}")
        return list(self.settings.models or on_disk)

    def _why_not_live(self) -> str:
        silence = time.monotonic() - self._beat
        return f"the event loop has not turned for {silence:.0f} s" if silence > SILENT else self._hung

    async def _keep_beating(self) -> None:
        while True:
            due = time.monotonic() + BEAT
            await asyncio.sleep(BEAT)
            self._beat = time.monotonic()
            self.metrics.loop_lag.set(max(0.0, self._beat - due))
            self._look_for_hung_models()
            for watched in self._watched:
                watched.look()

    async def _keep_saving(self) -> None:
        while True:
            await asyncio.sleep(SAVE)
            await self.watches.save()

    def _look_for_hung_models(self) -> None:
        seconds, name = max(
            ((model.watchdog.longest(), str(model)) for model in self.repository.loaded()), default=(0, "")
        )
        hung = f"a batch in {name} does not end" if 0 < self.settings.watchdog < seconds else ""
        if hung and not self._hung:
            log.error("%s: %.0f s; not live from here on", hung, seconds)
        self._hung = hung

    def _gateway(self) -> Gateway:
        (classify,) = (method for method in self._methods if method.path == f"{INFERENCE}/Classify")
        return Gateway(
            asyncio.get_running_loop(),
            self._dispatcher,
            classify,
            default_deadline=self.settings.default_deadline,
            max_body=self.settings.max_message_mb * MEGA,
        )

    def _all_methods(self) -> list[Method]:
        """Every RPC that is served, for any front."""
        deadline = self.settings.default_deadline
        inference = InferenceHandlers(self.repository, self.metrics, default_deadline=deadline)
        pseudo_label = PseudoLabelHandler(self.repository, self.metrics, default_deadline=deadline)
        models = ModelHandlers(self.repository)
        watches = WatchHandlers(self.repository, self.watches)
        seen = SeenHandler(self.repository)
        health = HealthHandlers(self.is_ready)
        i, m, h, r = inference_pb2, models_pb2, health_pb2, reflection_pb2
        pool = descriptor_pool(*(file.DESCRIPTOR for file in (i, m, h, r)))
        reflection = ReflectionServicer((INFERENCE, MODELS, OIP, HEALTH, REFLECTION), pool)
        return [
            *oip.methods(self.repository, models, self.is_ready, default_deadline=deadline),
            Method(INFERENCE, "Classify", i.ClassifyRequest, Scope.INFER, unary=inference.classify),
            Method(INFERENCE, "ClassifyStream", i.ClassifyRequest, Scope.INFER, both_streams=inference.classify_stream),
            Method(INFERENCE, "PseudoLabel", i.PseudoLabelRequest, Scope.LABEL, both_streams=pseudo_label.pseudo_label),
            Method(INFERENCE, "Compare", i.CompareRequest, Scope.INFER, unary=inference.compare),
            Method(MODELS, "List", m.ListModelsRequest, Scope.ANY, unary=models.list),
            Method(MODELS, "Get", m.GetModelRequest, Scope.ANY, unary=models.get),
            Method(MODELS, "Load", m.LoadModelRequest, Scope.ADMIN, unary=models.load),
            Method(MODELS, "Unload", m.UnloadModelRequest, Scope.ADMIN, unary=models.unload),
            Method(MODELS, "SetAlias", m.SetAliasRequest, Scope.ADMIN, unary=models.set_alias),
            Method(MODELS, "GetWatch", m.GetWatchRequest, Scope.ANY, unary=watches.get),
            Method(MODELS, "ResetWatch", m.ResetWatchRequest, Scope.ADMIN, unary=watches.reset),
            Method(MODELS, "Seen", m.SeenRequest, Scope.LABEL, unary=seen.seen),
            Method(HEALTH, "Check", h.HealthCheckRequest, Scope.OPEN, unary=health.check),
            Method(HEALTH, "Watch", h.HealthCheckRequest, Scope.OPEN, server_stream=health.watch),
            Method(
                REFLECTION,
                "ServerReflectionInfo",
                r.ServerReflectionRequest,
                Scope.ANY,
                both_streams=lambda requests, call: reflection.ServerReflectionInfo(requests, None),
            ),
        ]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
