"""What can go wrong, in the caller's words; no `grpc.RpcError` leaves this package.

PupilError
├── BadRequest         an image or a value that is refused: which one, what was found, what is wanted
├── NotFound           no such model, version or alias, with the names that exist
├── NotPossible        as things stand: a bundle that fails its checks, a repository that cannot be written
│   └── NotCertified   no certificate for the asked precision, with what it would take
├── Unauthenticated    no valid token
├── PermissionDenied   the token lacks a scope: which one
├── Overloaded         a queue is full, or a quota used up; `retry_after` says when to come back
├── DeadlineExceeded   no answer in time; the work was not done
├── Unavailable        no server there, or it is loading or draining
└── ServerError        the server's own fault, with the id to look for in its log
    └── ServerTooOld   it does not know the method
"""

from collections.abc import Mapping
from typing import Any

import grpc

Metadata = Mapping[str, str | bytes]


class PupilError(Exception):
    """What every error of this package is.

    `retry_after` is the number of seconds after which the server wants to be asked again, where it said so.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BadRequest(PupilError):
    """An image or a value that is refused."""


class NotFound(PupilError):
    """No such model, version or alias."""


class NotPossible(PupilError):
    """Not as things stand in the repository: the text says what to mend there."""


class NotCertified(NotPossible):
    """No certificate for the asked precision."""


class Unauthenticated(PupilError):
    """No token was sent, or none that the server knows and that is still valid."""


class PermissionDenied(PupilError):
    """The token lacks a scope."""


class Overloaded(PupilError):
    """A queue of the server is full, or the token's quota is used up."""


class DeadlineExceeded(PupilError):
    """No answer in time; the work was not done."""


class Unavailable(PupilError):
    """No server there, or it is loading or draining."""


class ServerError(PupilError):
    """The server's own fault."""


class ServerTooOld(ServerError):
    """A server of an earlier version than the client's, which does not know the method."""


ERRORS: dict[grpc.StatusCode, type[PupilError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: BadRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.FAILED_PRECONDITION: NotPossible,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.UNIMPLEMENTED: ServerTooOld,
}
MISUNDERSTOOD = {  # by a sign in gRPC's own words: why somebody is there, and no server for us
    "CERTIFICATE_VERIFY_FAILED": "its certificate is of no authority that we trust; say which one is (--tls-ca)",
    "WRONG_VERSION_NUMBER": "it speaks no TLS",
    "Socket closed": "it ends the connection at once; does it want TLS (--tls), or a certificate of ours?",
    "Failed parsing HTTP/2": "it speaks no gRPC; is that its HTTP port?",
}
NOBODY = ("failed to connect", "connections to all backends failing")  # gRPC's own words, for one address and for any
CODES = {code.value[0]: code for code in grpc.StatusCode}


def from_status(code: grpc.StatusCode, details: str, trailing: Metadata | None = None) -> PupilError:
    """The error that a status stands for; a status without one of its own is a `ServerError`."""
    kind = ERRORS.get(code, ServerError)
    message = details or code.name.lower().replace("_", " ")
    return kind(message, retry_after=_retry_after(trailing or {}))


def from_stream(code: int, message: str) -> PupilError:
    """The error that stands in an answer's place on a stream."""
    return from_status(CODES.get(code, grpc.StatusCode.UNKNOWN), message)


def from_rpc(error: grpc.RpcError, *, address: str, timeout: float) -> PupilError:
    """The error behind a failed call; where gRPC's own words would say little, it names the server."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        details = f"no answer from {address} within {timeout:g} s"
    if code is grpc.StatusCode.UNAVAILABLE:
        unreachable = details.startswith(NOBODY)
        details = _why_unreachable(address, details) if unreachable else f"{address} is unavailable: {details}"
    trailing: Any = error.trailing_metadata() or ()  # pairs, whose types differ between grpc and grpc.aio
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and " message " in details and "retry-after-ms" not in dict(trailing):
        code = grpc.StatusCode.INVALID_ARGUMENT  # the transport's own refusal of a large one: no use to send it again
        details = f"{details}; send fewer images at once (pupil serve --max-message-mb is the server's limit)"
    return from_status(code, details, dict(trailing))


def _why_unreachable(address: str, details: str) -> str:
    reason = next((reason for sign, reason in MISUNDERSTOOD.items() if sign in details), None)
    return f"no connection to {address}: {reason}" if reason else f"no server at {address}"


def _retry_after(trailing: Metadata) -> float | None:
    milliseconds = str(trailing.get("retry-after-ms", ""))
    return int(milliseconds) / 1000 if milliseconds.isdecimal() else None
