"""What the headers of a call ask for."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pupil_server.errors import Code, ProtocolViolation
from pupil_server.method import Method
from pupil_server.nghttp2.binding import Block, block
from pupil_server.nghttp2.metadata import CONTENT_TYPE, metadata, seconds

NOT_POST = block((b":status", b"405"), (b"allow", b"POST"))
NOT_GRPC = block((b":status", b"415"), (b"accept", b"application/grpc"))
READABLE_ENCODINGS = {b"identity": False, b"gzip": True}  # and whether a message may be compressed


class Head(NamedTuple):
    """The same for every call with the same headers: callers repeat theirs, so each is read once."""

    method: Method
    packed: bool
    seconds: float
    metadata: Mapping[str, Any]


def read_head(headers: tuple[bytes, ...], methods: Mapping[bytes, Method], default_deadline: float) -> Head | Block:
    """The head of a call, or the answer to what is none. Raises ProtocolViolation for a call that gRPC forbids."""
    found = dict(zip(headers[::2], headers[1::2], strict=True))
    if found.get(b":method") != b"POST":
        return NOT_POST
    if not CONTENT_TYPE.match(found.get(b"content-type", b"")):
        return NOT_GRPC
    method = methods.get(found[b":path"])
    if method is None:
        raise ProtocolViolation(Code.UNIMPLEMENTED, "Method not found!")  # as grpcio says it
    packed = READABLE_ENCODINGS.get(found.get(b"grpc-encoding", b"identity"))
    if packed is None:
        raise ProtocolViolation(Code.UNIMPLEMENTED, "this grpc-encoding is not known here; identity or gzip")
    left = seconds(found.get(b"grpc-timeout"), default_deadline if method.unary else float("inf"))
    return Head(method, packed, left, metadata(found))
