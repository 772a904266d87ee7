"""What stands in the headers of a call, and how an outcome is written into them."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pupil_server.errors import Code, ProtocolViolation
from pupil_server.method import Failure

UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
CONTENT_TYPE = re.compile(rb"application/grpc($|[+;])")
RESERVED = (b":", b"grpc-")  # how the names of headers begin that no handler sees
TRANSPORT = {b"te", b"content-type", b"host"}
READABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def seconds(timeout: bytes | None, default: float) -> float:
    """What `grpc-timeout` says. Raises ProtocolViolation where it makes no sense."""
    if timeout is None:
        return default
    found = TIMEOUT.fullmatch(timeout)
    if not found:
        raise ProtocolViolation(Code.INVALID_ARGUMENT, "grpc-timeout is not one to eight digits and one of H M S m u n")
    return int(found[1]) * UNITS[found[2]]


def metadata(headers: Mapping[bytes, bytes]) -> dict[str, Any]:
    """The caller's own headers: text, or bytes where the name ends in -bin. Raises ProtocolViolation for bad base64."""
    return {
        str(name, "latin-1"): _binary(name, value) if name.endswith(b"-bin") else str(value, "latin-1")
        for name, value in headers.items()
        if not name.startswith(RESERVED) and name not in TRANSPORT
    }


def _binary(name: bytes, value: bytes) -> bytes:
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)  # senders may leave the padding out
    except binascii.Error:
        raise ProtocolViolation(Code.INVALID_ARGUMENT, f"metadata {name.decode('latin-1')}: not base64") from None


def status_headers(failure: Failure) -> list[tuple[bytes, bytes]]:
    """`grpc-status`, `grpc-message` percent-encoded, and the failure's own trailers."""
    message = quote(failure.message, safe=READABLE).encode()
    headers = [(b"grpc-status", b"%d" % failure.code), (b"grpc-message", message)]
    return headers + [(name.encode(), _written(value)) for name, value in failure.trailers.items()]


def _written(value: str | bytes) -> bytes:
    return base64.b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode("latin-1", "replace")
