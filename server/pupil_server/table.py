"""Every RPC that is served, for any front; those of the Open Inference Protocol are in `oip/table.py`."""

from collections.abc import Callable

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from pupil_proto.v1 import inference_pb2, models_pb2
from pupil_server.at_once import AtOnce
from pupil_server.envelopes import Envelopes
from pupil_server.health import HealthHandlers
from pupil_server.inference import InferenceHandlers
from pupil_server.live.watch import Watches
from pupil_server.method import Method
from pupil_server.metrics import Metrics
from pupil_server.model_handlers import ModelHandlers
from pupil_server.oip import table as oip
from pupil_server.oip.names import SERVICE as OIP
from pupil_server.oip.reflection import descriptor_pool
from pupil_server.pseudo_label import PseudoLabelHandler
from pupil_server.repository import Repository
from pupil_server.seen_handler import SeenHandler
from pupil_server.tokens import Scope
from pupil_server.watch_handlers import WatchHandlers

INFERENCE, MODELS = "pupil.v1.Inference", "pupil.v1.Models"
HEALTH, REFLECTION = "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"
PIXELS = (2, 2, 1)  # the fields of ClassifyRequest, Images and Pixels
SERVICES = (INFERENCE, MODELS, OIP)  # ours, of whose health one may ask


def methods(
    repository: Repository,
    watches: Watches,
    metrics: Metrics,
    is_ready: Callable[[str], bool | None],
    *,
    default_deadline: float,
) -> list[Method]:
    inference = InferenceHandlers(repository, metrics, default_deadline=default_deadline)
    at_once = AtOnce(repository, Envelopes(inference.plain, images=PIXELS))
    pseudo_label = PseudoLabelHandler(repository, metrics, default_deadline=default_deadline)
    models = ModelHandlers(repository)
    watched = WatchHandlers(repository, watches)
    seen = SeenHandler(repository)
    health = HealthHandlers(is_ready)
    i, m, h, r = inference_pb2, models_pb2, health_pb2, reflection_pb2
    described = descriptor_pool(*(file.DESCRIPTOR for file in (i, m, h, r)))
    reflection = ReflectionServicer((*SERVICES, HEALTH, REFLECTION), described)
    return [
        *oip.methods(repository, models, is_ready, default_deadline=default_deadline),
        Method(INFERENCE, "Classify", i.ClassifyRequest, Scope.INFER, unary=inference.classify, at_once=at_once),
        Method(INFERENCE, "ClassifyStream", i.ClassifyRequest, Scope.INFER, both_streams=inference.classify_stream),
        Method(INFERENCE, "PseudoLabel", i.PseudoLabelRequest, Scope.LABEL, both_streams=pseudo_label.pseudo_label),
        Method(INFERENCE, "Compare", i.CompareRequest, Scope.INFER, unary=inference.compare),
        Method(MODELS, "List", m.ListModelsRequest, Scope.ANY, unary=models.list),
        Method(MODELS, "Get", m.GetModelRequest, Scope.ANY, unary=models.get),
        Method(MODELS, "Load", m.LoadModelRequest, Scope.ADMIN, unary=models.load),
        Method(MODELS, "Unload", m.UnloadModelRequest, Scope.ADMIN, unary=models.unload),
        Method(MODELS, "SetAlias", m.SetAliasRequest, Scope.ADMIN, unary=models.set_alias),
        Method(MODELS, "GetWatch", m.GetWatchRequest, Scope.ANY, unary=watched.get),
        Method(MODELS, "ResetWatch", m.ResetWatchRequest, Scope.ADMIN, unary=watched.reset),
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
