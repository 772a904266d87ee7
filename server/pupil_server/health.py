"""grpc.health.v1 with a name for the server (""), for each service and for each model."""

import asyncio
from collections.abc import AsyncGenerator, Callable

from grpc_health.v1 import health_pb2 as pb

from pupil_server.call import Call
from pupil_server.errors import NotFound

SERVING, NOT_SERVING = pb.HealthCheckResponse.SERVING, pb.HealthCheckResponse.NOT_SERVING
UNKNOWN = pb.HealthCheckResponse.SERVICE_UNKNOWN
LOOK_EVERY = 0.25  # seconds between two looks of a watcher: models come and go rarely, and a look costs nothing


class HealthHandlers:
    """Asks, when asked: nothing is kept that could be out of date."""

    def __init__(self, is_ready: Callable[[str], bool | None]) -> None:
        self._is_ready = is_ready  # of a service's or model's name; None where there is none of that name

    def _status(self, service: str) -> pb.HealthCheckResponse.ServingStatus.ValueType:
        ready = self._is_ready(service)
        return UNKNOWN if ready is None else SERVING if ready else NOT_SERVING

    async def check(self, request: pb.HealthCheckRequest, call: Call) -> pb.HealthCheckResponse:
        status = self._status(request.service)
        if status == UNKNOWN:
            raise NotFound(f"no service or model {request.service!r}")
        return pb.HealthCheckResponse(status=status)

    async def watch(self, request: pb.HealthCheckRequest, call: Call) -> AsyncGenerator[pb.HealthCheckResponse, None]:
        """The status now, then each change of it, until the caller hangs up."""
        told = None
        while True:
            status = self._status(request.service)
            if status != told:
                yield pb.HealthCheckResponse(status=status)
                told = status
            await asyncio.sleep(LOOK_EVERY)
