"""A repository without a server around it, for tests that load, swap and follow."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from pupil_proto.v1.inference_pb2 import ModelSpec
from pupil_server.decoding import Decoder
from pupil_server.images import Limits
from pupil_server.metrics import Metrics
from pupil_server.repository import Repository
from pupil_server.settings import ServerSettings

Script = Callable[[Repository], Awaitable[None]]


def run(folder: Path, script: Script, **settings: object) -> None:
    """`script` over a repository whose models are loaded."""

    async def whole() -> None:
        metrics = Metrics()
        decoder = Decoder(Limits(1_000_000, 1_000_000), threads=1, metrics=metrics)
        chosen = ServerSettings(repository=folder, device="cpu", **{"drain_grace": 5.0, **settings})  # type: ignore[arg-type]
        repository = Repository(chosen, decoder, metrics)
        try:
            await repository.load_at_start()
            await asyncio.wait_for(script(repository), timeout=30)
        finally:
            await repository.close()
            decoder.close()

    asyncio.run(whole())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  `run` ends it after 30 s
        await asyncio.sleep(0.001)


def ready(repository: Repository) -> list[str]:
    return sorted(str(model) for model in repository.loaded())


def answering(repository: Repository, name: str = "student") -> int:
    return repository.get(ModelSpec(name=name)).facts.version
