import functools
import importlib.util
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

import grpc
import pytest

from pupil_proto.v1 import inference_pb2_grpc, models_pb2_grpc

NO_LIBRARY = "the lean front needs libnghttp2 (Debian's libnghttp2-14)"


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


@pytest.fixture(scope="session", params=["nghttp2", "grpcio"])
def front(request) -> str:
    """Every test with a server runs on both fronts."""
    if request.param == "nghttp2":
        pytest.importorskip("pupil_server.nghttp2.binding", exc_type=ImportError, reason=NO_LIBRARY)
    return request.param


@pytest.fixture(scope="module")
def server(front: str, tmp_path_factory: pytest.TempPathFactory, toolbox) -> Iterator[object]:
    """One server for the tests of a module that leave it as they found it."""
    folder = tmp_path_factory.mktemp("served") / "repository"
    toolbox.write_bundle(folder, "teacher", seed=1)
    toolbox.write_bundle(folder, "student", seed=2, teacher="teacher")
    with toolbox.run_server(folder, "--front", front) as running:
        yield running


@pytest.fixture
def start(front: str, repository: Path, toolbox) -> Callable[..., AbstractContextManager[object]]:
    """`with start("--flag", …) as server`: a server of the test's own over `repository`."""
    return lambda *options: toolbox.run_server(repository, "--front", front, *options)


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


@pytest.fixture(scope="session")
def hostile() -> ModuleType:
    return beside("hostile")


@pytest.fixture(scope="session")
def batchers() -> ModuleType:
    return beside("batchers")


@pytest.fixture(scope="session")
def repositories() -> ModuleType:
    return beside("repositories")


@pytest.fixture
def serving(repository: Path) -> Callable[..., None]:
    """`serving(story, **settings)` runs a story over a server without a transport."""
    return functools.partial(beside("served").run, repository)


def beside(name: str) -> ModuleType:
    """A module beside this file, which tests cannot import."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
