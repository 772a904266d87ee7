"""What a worker that is started anew loads: what the others have, whatever the repository holds by now."""

from collections import defaultdict
from collections.abc import Mapping
from typing import TypeAlias

from pupil_proto.v1.models_pb2 import State
from pupil_server.workers.listing import listed
from pupil_server.workers.place import Place

Loaded: TypeAlias = Mapping[str, Mapping[int, bool]]  # the versions of each model, and whether its bare name means this


async def loaded_elsewhere(place: Place | None) -> Loaded | None:
    """What the first sibling that answers has loaded; None where none answers, or the worker is no new one."""
    for sibling in place.siblings if place and place.anew else ():
        models = await listed(sibling)
        if models is not None:
            loaded: dict[str, dict[int, bool]] = defaultdict(dict)
            for model in models:
                if model.state == State.STATE_READY:
                    loaded[model.name][model.version] = model.by_name
            return loaded
    return None
