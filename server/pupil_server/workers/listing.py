"""What a worker knows of the versions, for its siblings."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio

from pupil_proto.v1.models_pb2 import ListModelsRequest, ModelInfo, State
from pupil_proto.v1.models_pb2_grpc import ModelsStub
from pupil_server.call import Call
from pupil_server.method import Method
from pupil_server.workers.place import Place

PATIENCE = 5.0  # seconds for a sibling's answer


async def listed(sibling: Place, patience: float = PATIENCE) -> Sequence[ModelInfo] | None:
    """Every version as the sibling has it; None where it does not answer within `patience` seconds."""
    with suppress(grpc.aio.AioRpcError):
        async with grpc.aio.insecure_channel(f"unix:{sibling.control}") as channel:
            return (await ModelsStub(channel).List(ListModelsRequest(), timeout=patience)).models
    return None


def with_failures_elsewhere(method: Method, place: Place) -> Method:
    """List also says why a version failed at a sibling: only the worker that was told to load it has tried."""
    here = method.unary
    if method.request is not ListModelsRequest or here is None:
        return method

    async def of_all(request: Any, call: Call) -> Any:
        answer: Any = await here(request, call)
        untried = {(model.name, model.version): model for model in answer.models if model.state == State.STATE_UNLOADED}
        patience = min(PATIENCE, call.remaining() / 2)  # what is known here leaves in time, whoever hangs elsewhere
        asked = (listed(sibling, patience) for sibling in (place.siblings if untried else ()))
        for models in await asyncio.gather(*asked):
            for model in models or ():
                if model.state == State.STATE_FAILED and (model.name, model.version) in untried:
                    untried[model.name, model.version].CopyFrom(model)
        return answer

    return replace(method, unary=of_all)
