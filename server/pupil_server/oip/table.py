"""The protocol's RPCs, for any front. Those that are not here are UNIMPLEMENTED, as clients expect."""

from collections.abc import Callable

from pupil_proto.oip.v2 import config_pb2, infer_pb2, repository_pb2, service_pb2, statistics_pb2
from pupil_server.at_once import AtOnce
from pupil_server.envelopes import Envelopes
from pupil_server.method import Method
from pupil_server.model_handlers import ModelHandlers
from pupil_server.oip.infer import InferHandlers
from pupil_server.oip.metadata import MetadataHandlers
from pupil_server.oip.names import SERVICE
from pupil_server.oip.repository import RepositoryHandlers
from pupil_server.oip.statistics import StatisticsHandlers
from pupil_server.repository import Repository
from pupil_server.tokens import Scope

ID, RAW_INPUT = (3,), (7,)  # the fields of ModelInferRequest


def methods(
    repository: Repository, models: ModelHandlers, is_ready: Callable[[str], bool | None], *, default_deadline: float
) -> list[Method]:
    infer = InferHandlers(repository, default_deadline=default_deadline)
    about = MetadataHandlers(repository, is_ready)
    statistics = StatisticsHandlers(repository)
    repositories = RepositoryHandlers(models)
    at_once = AtOnce(repository, Envelopes(infer.plain, images=RAW_INPUT, id=ID))
    c, i, r, s, t = config_pb2, infer_pb2, repository_pb2, service_pb2, statistics_pb2
    return [
        Method(SERVICE, "ServerLive", s.ServerLiveRequest, Scope.OPEN, unary=about.server_live),
        Method(SERVICE, "ServerReady", s.ServerReadyRequest, Scope.OPEN, unary=about.server_ready),
        Method(SERVICE, "ModelReady", s.ModelReadyRequest, Scope.OPEN, unary=about.model_ready),
        Method(SERVICE, "ServerMetadata", s.ServerMetadataRequest, Scope.ANY, unary=about.server_metadata),
        Method(SERVICE, "ModelMetadata", s.ModelMetadataRequest, Scope.ANY, unary=about.model_metadata),
        Method(SERVICE, "ModelConfig", c.ModelConfigRequest, Scope.ANY, unary=about.model_config),
        Method(SERVICE, "ModelInfer", i.ModelInferRequest, Scope.INFER, unary=infer.infer, at_once=at_once),
        Method(SERVICE, "ModelStreamInfer", i.ModelInferRequest, Scope.INFER, both_streams=infer.stream),
        Method(SERVICE, "ModelStatistics", t.ModelStatisticsRequest, Scope.ANY, unary=statistics.statistics),
        Method(SERVICE, "RepositoryIndex", r.RepositoryIndexRequest, Scope.ANY, unary=repositories.index),
        Method(SERVICE, "RepositoryModelLoad", r.RepositoryModelLoadRequest, Scope.ADMIN, unary=repositories.load),
        Method(
            SERVICE, "RepositoryModelUnload", r.RepositoryModelUnloadRequest, Scope.ADMIN, unary=repositories.unload
        ),
    ]
