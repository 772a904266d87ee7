"""A name that means several servers, as a headless Service's does: each works, and one that is gone costs nothing."""

import asyncio
import re
from collections.abc import Iterator

import pytest

from pupil_client import AsyncClient, Client

CALLS = 12
METRIC = 'pupil_requests_total{code="OK",method="pupil.v1.Inference/Classify"}'


@pytest.fixture(scope="module")
def replicas(toolbox, tmp_path_factory) -> Iterator:
    """Two servers of one repository."""
    folders = [tmp_path_factory.mktemp("replica") / "repository" for _ in range(2)]
    for folder in folders:
        toolbox.write_bundle(folder, "student", seed=2)
    with toolbox.run_server(folders[0]) as first, toolbox.run_server(folders[1]) as second:
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
