"""A server without a transport, for tests that ask its dispatcher."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from pupil_proto.v1 import inference_pb2 as pb
from pupil_server.call import Call
from pupil_server.dispatch import Dispatcher
from pupil_server.pace import KNOWN
from pupil_server.repository import Repository
from pupil_server.server import Server
from pupil_server.settings import ServerSettings

CLASSIFY = "pupil.v1.Inference/Classify"


class Served:
    def __init__(self, server: Server) -> None:
        self.dispatcher: Dispatcher = server._dispatcher
        self.repository: Repository = server.repository
        self.methods = {method.path: method for method in server._methods}

    def at_once(self, path: str, *requests: bytes, **call: object) -> list[bytes | None]:
        calls = [(request, self.call(path, **call)) for request in requests]
        return self.dispatcher.at_once(self.methods[path], calls, time.monotonic())

    async def usually(self, path: str, request: bytes) -> bytes:
        return await self.dispatcher.unary(self.methods[path], request, self.call(path))

    @staticmethod
    def call(path: str, deadline: float = 60.0, **more: object) -> Call:
        return Call(path, time.monotonic() + deadline, **more)  # type: ignore[arg-type]

    async def get_to_know(self, *images: int) -> None:
        """A batch of a size is run on the loop once its time is known, and here then however busy the machine is."""
        for model in self.repository.loaded():
            model._batcher._on_the_loop = 60.0
        for number in images:
            raw = pb.Pixels(data=bytes(number * 108), count=number, height=6, width=6, channels=3)
            request = pb.ClassifyRequest(model=pb.ModelSpec(name="student"), images=pb.Images(pixels=raw))
            for _ in range(KNOWN):
                await self.usually(CLASSIFY, request.SerializeToString())


def run(repository: Path, story: Callable[[Served], Awaitable[None]], **settings: object) -> None:
    """A story over a server that knows how long batches of 1 to 8 images take."""

    async def whole() -> None:
        chosen = {"device": "cpu", "threads": 1, "max_batch": 8, "port": 0, "http_port": 0, **settings}
        server = Server(ServerSettings(repository=repository, **chosen))  # type: ignore[arg-type]
        await server.start()
        try:
            served = Served(server)
            await served.get_to_know(1, 2, 4, 8)
            await story(served)
        finally:
            await server.stop()

    asyncio.run(whole())
