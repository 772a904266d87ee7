"""One server, for asyncio programs: calls that are tried again, streams whose silence has an end."""

# ruff: noqa: ASYNC109  # the same words as in `Caller`: a call's `timeout` travels to the server

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import grpc

from pupil_client import health
from pupil_client.connection import bearer, open_async_channel, open_channel
from pupil_client.conversation import Conversation
from pupil_client.errors import from_rpc
from pupil_client.handover import Handover
from pupil_client.retries import Attempts, RetryBudget
from pupil_proto.v1.inference_pb2_grpc import InferenceStub
from pupil_proto.v1.models_pb2_grpc import ModelsStub

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class AsyncCaller:
    """`Caller` for asyncio. Made inside the running loop, because its channel belongs to that loop.

    Streams run in a thread of their own, on a second channel: grpc.aio says INTERNAL instead of a stream's status
    when a write fails while the server ends it (grpc/grpc#36066).
    """

    def __init__(
        self,
        address: str,
        *,
        timeout: float,
        tries: int,
        token: str | None,
        tls: bool | Path,
        certificate: Path | None,
        key: Path | None,
    ) -> None:
        asyncio.get_running_loop()
        self.address = address
        self._timeout = timeout
        self._tries = tries
        self._budget = RetryBudget()
        self._metadata = bearer(token)
        self._channel = open_async_channel(address, tls, certificate, key)
        self._stream_channel = open_channel(address, tls, certificate, key)
        self._inference = InferenceStub(self._channel)
        self._streams = InferenceStub(self._stream_channel)
        self._models = ModelsStub(self._channel)
        self._check = self._channel.unary_unary(health.CHECK, health.health_request, health.is_serving)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection, and every call on it."""
        self._stream_channel.close()
        await self._channel.close()

    async def _ask(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[Request, Answer]",
        request: Request,
        timeout: float | None = None,
        *,
        tries: int | None = None,
    ) -> Answer:
        seconds = self._timeout if timeout is None else timeout
        attempts = Attempts(tries=tries or self._tries, timeout=seconds, budget=self._budget)
        while True:
            try:
                answer = await method(request, timeout=attempts.left(), metadata=self._metadata)
            except grpc.RpcError as error:
                problem = from_rpc(error, address=self.address, timeout=seconds)
                pause = attempts.pause_after(problem)
                if pause is None:
                    raise problem from error
                await asyncio.sleep(pause)
            else:
                attempts.answered()
                return answer

    async def _converse(
        self,
        method: "grpc.StreamStreamMultiCallable[Request, Answer]",
        requests: AsyncIterator[Request],
        timeout: float | None,
    ) -> AsyncIterator[Answer]:
        silence = self._timeout if timeout is None else timeout
        loop = asyncio.get_running_loop()
        asked = Handover(requests, loop)
        with (
            ThreadPoolExecutor(1, "pupil-stream") as thread,
            asked,
            Conversation(method, asked, address=self.address, silence=silence, metadata=self._metadata) as answers,
        ):
            while (answer := await loop.run_in_executor(thread, next, answers, None)) is not None:
                yield answer
