"""A bidirectional stream whose every wait has an end: the server may be silent for so long, whatever the images."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Generic, TypeVar

import grpc

from pupil_client.connection import Metadata
from pupil_client.errors import DeadlineExceeded, NotCertified, NotPossible, from_rpc

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class Patience:
    """Counts how long a server has been silent; while a request is being made, or nobody waits, it rests."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._waiting = False
        self._making = False
        self._since = time.monotonic()
        self._lock = threading.Lock()  # requests are made in gRPC's thread, answers awaited in the caller's

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside, an answer is awaited."""
        self._set(waiting=True)
        try:
            yield
        finally:
            self._set(waiting=False)

    @contextmanager
    def making(self) -> Iterator[None]:
        """Inside, a request is made."""
        self._set(making=True)
        try:
            yield
        finally:
            self._set(making=False)

    def left(self) -> float:
        """Seconds until it ends, if nothing happens."""
        with self._lock:
            resting = self._making or not self._waiting
            return self.seconds if resting else max(0.0, self._since + self.seconds - time.monotonic())

    def _set(self, **state: bool) -> None:
        with self._lock:
            self._waiting = state.get("waiting", self._waiting)
            self._making = state.get("making", self._making)
            self._since = time.monotonic()


class Conversation(Generic[Request, Answer]):
    """The answers to a flow of requests, as they come.

    Raises `DeadlineExceeded` after `silence` seconds without a sign of the server, the error behind a status
    otherwise, and whatever goes wrong while a request is made as it is.
    """

    def __init__(
        self,
        method: "grpc.StreamStreamMultiCallable[Request, Answer]",
        requests: Iterator[Request],
        *,
        address: str,
        silence: float,
        metadata: Metadata,
    ) -> None:
        self._address = address
        self._patience = Patience(silence)
        self._failure: Exception | None = None
        self._silent = False
        self._over = threading.Event()
        self._call = method(self._made(requests), metadata=metadata)
        threading.Thread(target=self._watch, name="pupil-patience", daemon=True).start()

    def __enter__(self) -> "Conversation[Request, Answer]":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._call.cancel()

    def __iter__(self) -> Iterator[Answer]:
        return self

    def __next__(self) -> Answer:
        try:
            with self._patience.waiting():
                answer = next(self._call)
        except grpc.RpcError as error:
            if self._silent:
                raise DeadlineExceeded(f"{self._address} was silent for {self._patience.seconds:g} s") from error
            problem = from_rpc(error, address=self._address, timeout=self._patience.seconds)
            if isinstance(problem, NotPossible):  # all that stands in the way of labels is a certificate
                problem = NotCertified(str(problem))
            raise problem from error
        finally:
            if self._failure:
                raise self._failure
        return answer

    def _made(self, requests: Iterator[Request]) -> Iterator[Request]:
        while True:
            try:
                with self._patience.making():
                    request = next(requests)
            except StopIteration:
                return
            except Exception as failure:  # gRPC would log it and call it UNKNOWN
                self._failure = failure
                return
            yield request

    def _watch(self) -> None:
        while not self._over.wait(self._patience.left()):
            if self._patience.left() == 0.0:
                self._silent = True
                self._call.cancel()
                return
