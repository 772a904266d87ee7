import threading
import time
from collections.abc import Callable, Iterator

import grpc
import pytest

from pupil_proto.v1 import inference_pb2_grpc, models_pb2_grpc


class Stubs:
    """The generated stubs over one channel: tests of the server use nothing of our client."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self.inference = inference_pb2_grpc.InferenceStub(self.channel)
        self.models = models_pb2_grpc.ModelsStub(self.channel)


@pytest.fixture
def connect() -> Iterator[Callable[[str], Stubs]]:
    """`connect(address)`: stubs whose channel is closed at the end of the test."""
    opened: list[Stubs] = []

    def open_stubs(address: str) -> Stubs:
        opened.append(Stubs(address))
        return opened[-1]

    yield open_stubs
    for stubs in opened:
        stubs.channel.close()


@pytest.fixture
def stubs(server, connect) -> Stubs:
    return connect(server.address)


@pytest.fixture
def becomes() -> Callable[[Callable[[], object]], None]:
    """`becomes(wanted)` returns once `wanted()` is true; the test fails where it does not become so."""

    def wait(wanted: Callable[[], object], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not wanted():
            assert time.monotonic() < deadline, "it did not become so"
            threading.Event().wait(0.02)

    return wait
