"""RepositoryIndex, RepositoryModelLoad and RepositoryModelUnload, by way of pupil.v1's own List, Load and Unload."""

from pupil_proto.oip.v2 import repository_pb2 as pb
from pupil_proto.v1 import models_pb2
from pupil_server.call import Call
from pupil_server.errors import BadRequest, NotFound
from pupil_server.model_handlers import ModelHandlers

UNAVAILABLE = "UNAVAILABLE"
STATES = {
    models_pb2.STATE_READY: "READY",
    models_pb2.STATE_LOADING: "LOADING",
    models_pb2.STATE_UNLOADING: "UNLOADING",
}


class RepositoryHandlers:
    def __init__(self, models: ModelHandlers) -> None:
        self._models = models

    async def index(self, request: pb.RepositoryIndexRequest, call: Call) -> pb.RepositoryIndexResponse:
        _require_no_name(request.repository_name)
        known = (await self._models.list(models_pb2.ListModelsRequest(), call)).models
        return pb.RepositoryIndexResponse(
            models=[
                pb.RepositoryIndexResponse.ModelIndex(
                    name=model.name,
                    version=str(model.version),
                    state=STATES.get(model.state, UNAVAILABLE),
                    reason=model.reason or ("unloaded" if model.state == models_pb2.STATE_UNLOADED else ""),
                )
                for model in known
                if model.state == models_pb2.STATE_READY or not request.ready
            ]
        )

    async def load(self, request: pb.RepositoryModelLoadRequest, call: Call) -> pb.RepositoryModelLoadResponse:
        _require_no_name(request.repository_name)
        for name in request.parameters:
            raise BadRequest(f"parameter {name}: a model's configuration and files come from the repository alone")
        await self._models.load(models_pb2.LoadModelRequest(name=request.model_name), call)
        return pb.RepositoryModelLoadResponse()

    async def unload(self, request: pb.RepositoryModelUnloadRequest, call: Call) -> pb.RepositoryModelUnloadResponse:
        _require_no_name(request.repository_name)
        for name in set(request.parameters) - {"unload_dependents"}:
            raise BadRequest(f"parameter {name}: not known; unload_dependents is")
        await self._models.unload(models_pb2.UnloadModelRequest(name=request.model_name), call)
        return pb.RepositoryModelUnloadResponse()


def _require_no_name(repository: str) -> None:
    if repository:
        raise NotFound(f"no repository {repository!r}; there is one, and it has no name")
