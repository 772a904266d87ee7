"""Every RPC of the server, and the scope that it asks of a token."""

import asyncio
from pathlib import Path

from pupil_server.server import Server
from pupil_server.settings import ServerSettings


def test_every_method_asks_for_the_scope_that_it_should(repository: Path) -> None:
    async def scopes() -> dict[str, str]:
        server = Server(ServerSettings(repository=repository))
        found = {method.path.removeprefix("pupil.v1."): method.scope.value for method in server._methods}
        await server.stop()
        return found

    assert asyncio.run(scopes()) == {
        "Inference/Classify": "infer",
        "Inference/ClassifyStream": "infer",
        "Inference/PseudoLabel": "label",
        "Inference/Compare": "infer",
        "Models/List": "any",
        "Models/Get": "any",
        "Models/Load": "admin",
        "Models/Unload": "admin",
        "Models/SetAlias": "admin",
        "Models/GetWatch": "any",
        "Models/ResetWatch": "admin",
        "Models/Seen": "label",
        "grpc.health.v1.Health/Check": "open",
        "grpc.health.v1.Health/Watch": "open",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": "any",
        "inference.GRPCInferenceService/ServerLive": "open",
        "inference.GRPCInferenceService/ServerReady": "open",
        "inference.GRPCInferenceService/ModelReady": "open",
        "inference.GRPCInferenceService/ServerMetadata": "any",
        "inference.GRPCInferenceService/ModelMetadata": "any",
        "inference.GRPCInferenceService/ModelConfig": "any",
        "inference.GRPCInferenceService/ModelStatistics": "any",
        "inference.GRPCInferenceService/RepositoryIndex": "any",
        "inference.GRPCInferenceService/ModelInfer": "infer",
        "inference.GRPCInferenceService/ModelStreamInfer": "infer",
        "inference.GRPCInferenceService/RepositoryModelLoad": "admin",
        "inference.GRPCInferenceService/RepositoryModelUnload": "admin",
    }
