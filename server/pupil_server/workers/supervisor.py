"""Several workers behind one port, kept running, with one HTTP port that tells of all of them."""

import asyncio
import logging
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from pupil_server.errors import SettingsError
from pupil_server.listening import ReservedPort
from pupil_server.operations import OperationsServer
from pupil_server.settings import MEGA, ServerSettings
from pupil_server.workers.orders import RELOAD
from pupil_server.workers.overview import Overview
from pupil_server.workers.passing_on import PassingOn
from pupil_server.workers.place import Place
from pupil_server.workers.process import WorkerProcess

log = logging.getLogger("pupil.workers")

LONGEST_NAME = 103  # bytes of a socket file's path, on the systems that take the least


class Supervisor:
    """`await start()`, then `await stop()`, as a server. It loads no model itself."""

    def __init__(self, settings: ServerSettings) -> None:
        _require_shareable(settings)
        self.settings = settings
        self.port = self.http_port = 0
        self._folder = Path(tempfile.mkdtemp(prefix="pupil-workers-"))  # for this user alone
        self._workers: list[WorkerProcess] = []
        self._reserved: ReservedPort | None = None
        self._overview: Overview | None = None
        self._operations: OperationsServer | None = None
        self._keeping: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Takes both ports, and starts the workers. Raises what a server raises, and nothing is left running then."""
        settings, count = self.settings, self.settings.workers
        try:
            self._reserved = ReservedPort(settings.host, settings.port)
            self.port = self._reserved.port
            places = [Place(self._folder, number, count) for number in range(1, count + 1)]
            _require_short(places[-1].control)
            self._workers = [WorkerProcess(replace(settings, port=self.port), place) for place in places]
            self._overview = Overview(self._workers)
            self._operations = OperationsServer(
                (settings.host, settings.http_port),
                registry=self._overview.registry,
                is_live=self._overview.why_not_live,
                is_ready=self._overview.why_not_ready,
                gateway=self._gateway() if settings.http_gateway else None,
            )
            self.http_port = self._operations.port
            await asyncio.gather(*(worker.start() for worker in self._workers))
        except BaseException:
            await asyncio.gather(*(worker.kill() for worker in self._workers))
            await self._close()
            raise
        restarted = self._overview.metrics.restarts.inc
        self._keeping = [asyncio.create_task(worker.keep_running(restarted)) for worker in self._workers]

    async def reload(self) -> None:
        for worker in self._workers:
            worker.tell(RELOAD)

    async def stop(self) -> None:
        """Drains all workers at the same time; one that is being started is not waited for."""
        for keeping in self._keeping:
            keeping.cancel()
        statuses = await asyncio.gather(*(worker.drain() for worker in self._workers))
        await self._close()
        if any(statuses):
            log.error("a worker did not end as it should")
            sys.exit(1)

    async def _close(self) -> None:
        if self._operations:
            await asyncio.to_thread(self._operations.close)
        if self._reserved:
            self._reserved.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _gateway(self) -> PassingOn:
        return PassingOn(
            self._workers,
            default_deadline=self.settings.default_deadline,
            max_body=self.settings.max_message_mb * MEGA,
        )


def _require_short(socket: Path) -> None:
    if len(os.fsencode(socket)) > LONGEST_NAME:
        raise SettingsError(f"{socket.parent}: too long for the name of a socket; set TMPDIR to a shorter folder")


def _require_shareable(settings: ServerSettings) -> None:
    """Raises SettingsError for what only one process can do."""
    if settings.shadow or settings.drift or settings.watch_state:
        raise SettingsError(
            "--workers: not with --shadow, --drift or --watch-state; each worker would see a part of the traffic, and "
            "what the parts prove cannot be added up"
        )
    if settings.unix:
        raise SettingsError("--workers: not with --unix; a socket file has one listener")
