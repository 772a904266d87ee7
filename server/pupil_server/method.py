"""One RPC, and what a front puts on the wire instead of its answer."""

import functools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from google.protobuf.message import DecodeError, Message

from pupil_server.call import Call
from pupil_server.errors import BadRequest, Code
from pupil_server.tokens import Scope

Unary = Callable[[Any, Call], Awaitable[Message]]
ServerStream = Callable[[Any, Call], AsyncGenerator[Message, None]]
BothStreams = Callable[[AsyncIterator[Any], Call], AsyncGenerator[Message, None]]


@dataclass(frozen=True, eq=False)
class Method:
    """One RPC: its path without the leading slash, the request's type, and exactly one of three handlers. Beside a
    unary one may stand what answers some of its requests at once, in bytes, and gives None for the others.

    A probe is open to everybody, and answered whatever the load, and while draining: who asks how we are must not be
    told that we are busy.
    """

    service: str
    name: str
    request: type[Message]
    scope: Scope = Scope.ADMIN  # what is forgotten is closed
    unary: Unary | None = None
    at_once: Callable[[Sequence[bytes | None], float], list[bytes | None]] | None = None
    server_stream: ServerStream | None = None
    both_streams: BothStreams | None = None

    @functools.cached_property
    def path(self) -> str:
        return f"{self.service}/{self.name}"

    @functools.cached_property
    def probe(self) -> bool:
        return self.scope is Scope.OPEN

    @functools.cached_property
    def ends(self) -> bool:
        """Whether its calls end by themselves, so that a draining server waits for them."""
        return self.server_stream is None

    def parse(self, request: bytes) -> Message:
        """Raises BadRequest for bytes that are no such message."""
        try:
            return self.request.FromString(request)
        except DecodeError:
            raise BadRequest(f"not a {self.request.DESCRIPTOR.full_name} message") from None


@dataclass
class Failure(Exception):
    """What a front puts on the wire instead of an answer."""

    code: Code
    message: str
    trailers: dict[str, str] = field(default_factory=dict)

    def without_trace(self) -> Self:
        """The same, without the frames behind it, which hold the whole request."""
        return type(self)(self.code, self.message, self.trailers)
