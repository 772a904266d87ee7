"""Who goes into a batch first."""

from collections.abc import Mapping
from enum import IntEnum

from pupil_server.errors import BadRequest

KEY = "pupil-priority"  # in a call's metadata


class Priority(IntEnum):
    INTERACTIVE = 0  # somebody waits for the answer
    BULK = 1  # a pool is worked off: labelling


def asked_priority(metadata: Mapping[str, str]) -> Priority:
    """What a call asks for, interactive where it says nothing. Raises BadRequest for what does not exist."""
    asked = metadata.get(KEY)
    if asked is None:
        return Priority.INTERACTIVE
    try:
        return Priority[asked.upper()]
    except KeyError:
        raise BadRequest(f"{KEY}: {asked!r} is not known; interactive or bulk") from None
