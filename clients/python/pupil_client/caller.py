"""One server, for programs with threads: calls that are tried again, streams whose silence has an end."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import grpc

from pupil_client import health
from pupil_client.connection import bearer, open_channel
from pupil_client.conversation import Conversation
from pupil_client.errors import from_rpc
from pupil_client.retries import Attempts, RetryBudget, persistently
from pupil_proto.v1.inference_pb2_grpc import InferenceStub
from pupil_proto.v1.models_pb2_grpc import ModelsStub

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class Caller:
    """Asks a server and holds streams with it; `Client` adds the verbs."""

    def __init__(
        self,
        address: str = "localhost:50051",
        *,
        timeout: float = 10.0,
        tries: int = 3,
        token: str | None = None,
        tls: bool | Path = False,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        self.address = address
        self._timeout = timeout
        self._tries = tries
        self._budget = RetryBudget()
        self._metadata = bearer(token)
        self._channel = open_channel(address, tls, certificate, key)
        self._inference = InferenceStub(self._channel)
        self._models = ModelsStub(self._channel)
        self._check = self._channel.unary_unary(health.CHECK, health.health_request, health.is_serving)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection, and every call on it."""
        self._channel.close()

    def _ask(
        self,
        method: "grpc.UnaryUnaryMultiCallable[Request, Answer]",
        request: Request,
        timeout: float | None = None,
        *,
        tries: int | None = None,
    ) -> Answer:
        seconds = self._timeout if timeout is None else timeout
        attempts = Attempts(tries=tries or self._tries, timeout=seconds, budget=self._budget)

        def once() -> Answer:
            try:
                return method(request, timeout=attempts.left(), metadata=self._metadata)
            except grpc.RpcError as error:
                raise from_rpc(error, address=self.address, timeout=seconds) from error

        return persistently(once, attempts)

    def _converse(
        self,
        method: "grpc.StreamStreamMultiCallable[Request, Answer]",
        requests: Iterator[Request],
        timeout: float | None,
    ) -> Iterator[Answer]:
        silence = self._timeout if timeout is None else timeout
        with Conversation(method, requests, address=self.address, silence=silence, metadata=self._metadata) as answers:
            yield from answers
