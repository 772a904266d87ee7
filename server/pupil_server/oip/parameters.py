"""Parameters of a request and of its tensors: a few mean something, some are let pass, the others are refused."""

import math
from collections.abc import Mapping

from pupil_proto.oip.v2 import infer_pb2 as pb
from pupil_server.errors import BadRequest

Parameters = Mapping[str, pb.InferParameter]


def whole_number(parameter: pb.InferParameter, name: str) -> int:
    """Clients send the same number signed or unsigned. Raises BadRequest for any other kind, and for less than 0."""
    kind = parameter.WhichOneof("parameter_choice")
    number = parameter.uint64_param if kind == "uint64_param" else parameter.int64_param
    if kind not in ("int64_param", "uint64_param") or number < 0:
        raise BadRequest(f"parameter {name}: a whole number, 0 or more, is wanted")
    return number


def time_limit(parameters: Parameters) -> float:
    """Seconds that the request's `timeout` (microseconds) leaves; infinite without one."""
    seconds = math.inf
    for name, parameter in parameters.items():
        if name == "timeout":
            seconds = (whole_number(parameter, name) / 1e6) or math.inf
        elif name.startswith("sequence_"):
            raise BadRequest(f"parameter {name}: no model here keeps a state between requests")
        elif name != "priority" and not name.startswith("triton_"):  # clients' own, on every call
            raise BadRequest(f"parameter {name}: not known; timeout is")
    return seconds


def refuse(parameters: Parameters, *, of: str, but: tuple[str, ...] = ()) -> None:
    """Raises BadRequest for a tensor's parameter that is not in `but`."""
    for name in parameters:
        if name.startswith("shared_memory"):
            raise BadRequest(f"{of}: shared memory is not offered; send the bytes")
        if name not in but:
            raise BadRequest(f"{of}: parameter {name} is not known; known: {', '.join(but) or 'none'}")
