"""A name that means several servers, as a headless Service's does: each works, and one that is gone costs nothing."""

import asyncio
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pupil_client import AsyncClient, Client

CALLS = 12
METRIC = 'pupil_requests_total{code="OK",method="pupil.v1.Inference/Classify"}'


@pytest.fixture(scope="module")
def replicas(toolbox, tmp_path_factory) -> Iterator:
    """Two servers that follow one repository."""
    folders = [tmp_path_factory.mktemp("replica") / "repository" for _ in range(2)]
    folders[1].symlink_to(folders[0])
    toolbox.write_bundle(folders[0], "student", seed=2)
    with (
        toolbox.run_server(folders[0], "--watch", "0.1") as first,
        toolbox.run_server(folders[1], "--watch", "0.1") as second,
    ):
        yield first, second


def name_of(*addresses: str) -> str:
    """What gRPC makes of a name with these addresses."""
    return f"ipv4:{','.join(addresses)}"


def answered(server) -> int:
    found = re.search(rf"^{re.escape(METRIC)} (\d+)", server.get("metrics")[1], flags=re.MULTILINE)
    return int(found[1]) if found else 0


def test_calls_go_to_every_replica_of_a_name(replicas, toolbox) -> None:
    picture = toolbox.png(toolbox.random_pixels(1, seed=0)[0])
    before = [answered(server) for server in replicas]
    with Client(name_of(*(server.address for server in replicas))) as client:
        for _ in range(CALLS):
            client.classify(picture, model="student")

    async def ask() -> None:
        async with AsyncClient(name_of(*(server.address for server in replicas))) as client:
            for _ in range(CALLS):
                await client.classify(picture, model="student")

    asyncio.run(ask())
    each = [answered(server) - count for server, count in zip(replicas, before, strict=True)]
    assert sum(each) == 2 * CALLS
    assert min(each) >= CALLS // 2


def test_a_replica_that_is_gone_is_left_out(replicas, toolbox) -> None:
    picture = toolbox.png(toolbox.random_pixels(1, seed=0)[0])
    with Client(name_of("127.0.0.1:1", replicas[0].address)) as client:
        for _ in range(CALLS):
            assert client.classify(picture, model="student").label in toolbox.classes


class Caller:
    """Asks all replicas by their one name, on a thread, without a pause."""

    def __init__(self, address: str, picture: bytes, *, tries: int = 1) -> None:
        self.answered_by: list[int] = []
        self.failures: list[Exception] = []
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._ask, args=(address, picture, tries))

    def _ask(self, address: str, picture: bytes, tries: int) -> None:
        with Client(address, tries=tries) as client:
            while not self._enough.is_set():
                try:
                    self.answered_by.append(client.classify(picture, model="student").answered_by.version)
                except Exception as error:
                    self.failures.append(error)

    def __enter__(self) -> "Caller":
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._enough.set()
        self._thread.join()

    def hears(self, version: int) -> None:
        self._wait(lambda: version in self.answered_by)

    def only_hears(self, version: int) -> None:
        """Waits until twenty answers in a row are of this version."""
        self._wait(lambda: self.answered_by[-20:] == [version] * 20)

    def _wait(self, wanted: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not wanted():
            assert time.monotonic() < deadline, f"{self.answered_by[-20:]}, {self.failures}"
            threading.Event().wait(0.02)


def test_a_student_is_rolled_out_and_back_on_every_replica_by_its_folder_alone(
    replicas, toolbox, tmp_path: Path
) -> None:
    repository = Path(replicas[0].log).parent / "repository"
    new = toolbox.write_bundle(tmp_path, "student", 2, seed=3)
    picture = toolbox.png(toolbox.random_pixels(1, seed=0)[0])
    with Caller(name_of(*(server.address for server in replicas)), picture) as caller:
        caller.only_hears(1)
        shutil.copytree(new, repository / "student/2")
        caller.only_hears(2)
        shutil.rmtree(repository / "student/2")
        caller.only_hears(1)
    assert caller.failures == []


def test_a_replica_that_drains_costs_its_clients_nothing(replicas, toolbox, tmp_path: Path) -> None:
    toolbox.write_bundle(tmp_path / "repository", "student", 3, seed=2)
    picture = toolbox.png(toolbox.random_pixels(1, seed=0)[0])
    with toolbox.run_server(tmp_path / "repository", "--drain-delay", "0.3") as leaving:
        with Caller(name_of(replicas[0].address, leaving.address), picture, tries=1) as caller:
            caller.hears(3)
            leaving.process.terminate()
            assert leaving.process.wait(timeout=30) == 0
            caller.only_hears(1)
        assert caller.failures == []
