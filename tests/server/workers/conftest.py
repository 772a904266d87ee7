import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import grpc
import pytest

from pupil_proto.v1 import inference_pb2 as pb
from pupil_server.workers.asking import ask

PATIENCE = 20.0


class Crew:
    """A server of two workers, and what is known of each of them."""

    def __init__(self, server, repository: Path) -> None:
        self.server, self.repository = server, repository
        self.address, self.http = server.address, server.http

    def processes(self) -> list[int]:
        """The process of each worker that lives, from the kernel."""
        of_supervisor = Path(f"/proc/{self.server.process.pid}/task").glob("*/children")
        return sorted(int(child) for file in of_supervisor for child in file.read_text().split())

    def folder(self) -> Path:
        """The private folder, as the kernel knows it from the sockets in it."""
        inodes = set()
        for file in (file for pid in self.processes() for file in Path(f"/proc/{pid}/fd").iterdir()):
            with suppress(FileNotFoundError):  # a connection that was closed just now
                inodes.add(str(file.readlink()))
        for line in Path("/proc/net/unix").read_text().splitlines():
            found = re.search(r" (\d+) (/\S+)/\d+\.http$", line)
            if found and f"socket:[{found[1]}]" in inodes:
                return Path(found[2])
        raise AssertionError("no worker listens")

    def asked(self, folder: Path, number: int) -> float:
        """Calls of Classify that one worker has answered, by its own word."""
        metrics = ask(folder / f"{number}.http", "/metrics", timeout=PATIENCE).body.decode()
        return counted(metrics, 'pupil_request_seconds_count{method="pupil.v1.Inference/Classify"}')

    def counted(self, name: str) -> float:
        return counted(self.get("metrics")[1], name)

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{self.http}/{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def channel(self) -> grpc.Channel:
        """A connection of its own; grpcio would share one among the channels to one address."""
        return grpc.insecure_channel(self.address, options=(("grpc.use_local_subchannel_pool", 1),))


def counted(metrics: str, name: str) -> float:
    return sum(float(line.removeprefix(name)) for line in metrics.splitlines() if line.startswith(f"{name} "))


@pytest.fixture
def crewed(repository: Path, toolbox) -> Callable[..., AbstractContextManager[Crew]]:
    """`with crewed("--flag", …) as crew`: two workers of the test's own over `repository`."""

    @contextmanager
    def start(*options: str) -> Iterator[Crew]:
        with toolbox.run_server(repository, "--workers", "2", *options) as server:
            yield Crew(server, repository)

    return start


@pytest.fixture(scope="module")
def crew(front: str, tmp_path_factory, toolbox) -> Iterator[Crew]:
    """Two workers, on each front, for the tests of a module that leave them as they found them."""
    folder = tmp_path_factory.mktemp("crew") / "repository"
    toolbox.write_bundle(folder, "teacher", seed=1)
    toolbox.write_bundle(folder, "student", seed=2, teacher="teacher")
    with toolbox.run_server(folder, "--workers", "2", "--http-gateway", "--front", front) as server:
        yield Crew(server, folder)


@pytest.fixture
def channels(crew: Crew) -> Iterator[list[grpc.Channel]]:
    """So many connections that the kernel gives some to each worker."""
    opened = [crew.channel() for _ in range(24)]
    yield opened
    for channel in opened:
        channel.close()


@pytest.fixture
def picture(toolbox) -> pb.ClassifyRequest:
    pixels = pb.Pixels(data=toolbox.random_pixels(1, seed=5).tobytes(), count=1, height=6, width=6, channels=3)
    return pb.ClassifyRequest(model=pb.ModelSpec(name="student"), images=pb.Images(pixels=pixels))
