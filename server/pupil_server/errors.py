"""Every way in which a call can fail, with the status that it becomes on the wire.

PupilError
├── BadRequest            INVALID_ARGUMENT
│   └── BadImage
├── NotFound              NOT_FOUND
├── NotPossible           FAILED_PRECONDITION
│   └── NoCertificate
├── Overloaded            RESOURCE_EXHAUSTED
│   └── QuotaUsedUp
├── Unauthenticated       UNAUTHENTICATED
├── PermissionDenied      PERMISSION_DENIED
├── DeadlineExceeded      DEADLINE_EXCEEDED
├── Unavailable           UNAVAILABLE
├── ElsewhereFailed       as the other worker has it
└── ProtocolViolation     as gRPC has it: mostly INTERNAL or UNIMPLEMENTED

Anything else is ours: INTERNAL, with an id on the wire and the trace in the log.
"""

from enum import IntEnum

MOST_TEXT = 600  # characters; callers' own names are in the texts, and 8 KB of trailing metadata lose the status itself


class Code(IntEnum):
    """The gRPC status codes that we use, by their numbers on the wire."""

    OK = 0
    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class PupilError(Exception):
    """A failure that the caller may read: its text goes on the wire."""

    code = Code.INTERNAL
    rejected = ""  # the reason in `pupil_rejected`, where it is a refusal at the door

    def __init__(self, message: str) -> None:
        super().__init__(message if len(message) <= MOST_TEXT else f"{message[:MOST_TEXT]}…")


class BadRequest(PupilError):
    code = Code.INVALID_ARGUMENT
    rejected = "bad_request"


class BadImage(BadRequest):
    """One image cannot be used; the text does not say which one, the handler does."""


class NotFound(PupilError):
    code = Code.NOT_FOUND


class NotPossible(PupilError):
    """Not as things stand in the repository; the text says what to mend there."""

    code = Code.FAILED_PRECONDITION


class NoCertificate(NotPossible):
    """Too little is proven for what is to be promised."""


class Overloaded(PupilError):
    """A queue is full. `retry_after` (seconds) is how long emptying it takes at the present pace."""

    code = Code.RESOURCE_EXHAUSTED
    rejected = "queue_full"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QuotaUsedUp(Overloaded):
    """The token's share of images is used up; it fills again by itself."""

    rejected = "quota"


class Unauthenticated(PupilError):
    """No token, or none that is valid. One text for every case, the `why` is for the log alone."""

    code = Code.UNAUTHENTICATED
    rejected = "unauthenticated"

    def __init__(self, why: str) -> None:
        super().__init__("a valid token is needed; send it as metadata: authorization: Bearer TOKEN")
        self.why = why


class PermissionDenied(PupilError):
    """A valid token that lacks the method's scope."""

    code = Code.PERMISSION_DENIED
    rejected = "permission_denied"

    def __init__(self, scope: str) -> None:
        super().__init__(f"the token lacks the scope {scope}")


class DeadlineExceeded(PupilError):
    code = Code.DEADLINE_EXCEEDED


class Unavailable(PupilError):
    code = Code.UNAVAILABLE


class ProtocolViolation(PupilError):
    """The call breaks a rule of gRPC itself, which is nothing that a handler sees."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


class ElsewhereFailed(PupilError):
    """This worker did what it was told to, another one did not."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(f"{message}; the others may have, so ask again")
        self.code = code


class BundleError(Exception):
    """A bundle that must not be served: which file, what is wrong, what to do. Never about one call."""

    def __init__(self, message: str) -> None:
        line = " ".join(message.split())  # names come from the bundle: a newline in one would forge a line of the log
        super().__init__(line if len(line) <= MOST_TEXT else f"{line[:MOST_TEXT]}…")


class SettingsError(Exception):
    """A setting, or a file that one names, with which the server must not start. Never about one call."""
