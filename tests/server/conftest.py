import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

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


@pytest.fixture(scope="session")
def hostile() -> ModuleType:
    """The module `hostile.py` beside this file, which tests cannot import."""
    spec = importlib.util.spec_from_file_location("hostile", Path(__file__).with_name("hostile.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
