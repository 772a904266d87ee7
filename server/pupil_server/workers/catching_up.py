"""What a worker that is started anew loads: what the others have, whatever the repository holds by now."""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from typing import TypeAlias

import grpc
import grpc.aio

from pupil_proto.v1.models_pb2 import ListModelsRequest, State
from pupil_proto.v1.models_pb2_grpc import ModelsStub
from pupil_server.workers.place import Place

PATIENCE = 5.0  # seconds for a sibling's answer

Loaded: TypeAlias = Mapping[str, Mapping[int, bool]]  # the versions of each model, and whether its bare name means this


async def loaded_elsewhere(place: Place | None) -> Loaded | None:
    """What the first sibling that answers has loaded; None where none answers, or the worker is no new one."""
    for sibling in place.siblings if place and place.anew else ():
        with suppress(grpc.aio.AioRpcError):
            return await _loaded(sibling)
    return None


async def _loaded(sibling: Place) -> Loaded:
    loaded: dict[str, dict[int, bool]] = defaultdict(dict)
    async with grpc.aio.insecure_channel(f"unix:{sibling.control}") as channel:
        listed = await ModelsStub(channel).List(ListModelsRequest(), timeout=PATIENCE)
        for model in listed.models:
            if model.state == State.STATE_READY:
                loaded[model.name][model.version] = model.by_name
    return loaded
