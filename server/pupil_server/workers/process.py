"""One worker as its supervisor sees it: a process that is started, told, waited for, and started anew."""

import asyncio
import json
import logging
import pickle
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from pupil_server import lifecycle
from pupil_server.errors import SettingsError
from pupil_server.settings import ServerSettings
from pupil_server.workers.orders import DRAIN
from pupil_server.workers.place import Place

log = logging.getLogger("pupil.workers")

COMMAND = (sys.executable, "-P", "-m", "pupil_server.workers.worker")
LEAVE = lifecycle.LEAVE - 0.5  # seconds beyond its grace: before the supervisor itself counts as hung
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before a worker that died is started anew, doubling


class WorkerProcess:
    def __init__(self, settings: ServerSettings, place: Place) -> None:
        self.place = place
        self.ready = False
        self.starts = 0
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns when it is ready. Raises SettingsError with its reason where it ended instead."""
        self.starts += 1
        for socket in (self.place.control, self.place.http):
            socket.unlink(missing_ok=True)
        pipe = asyncio.subprocess.PIPE
        process = self._process = await asyncio.create_subprocess_exec(
            *COMMAND,
            stdin=pipe,
            stdout=pipe,
            start_new_session=True,  # a terminal's Ctrl-C is for the supervisor
        )
        assert process.stdout is not None
        place = replace(self.place, anew=self.starts > 1)
        self.tell(pickle.dumps((self._settings, place)).hex().encode() + b"\n")
        said = json.loads(await process.stdout.readline() or "{}")
        if "error" in said or not said:
            status = await process.wait()
            raise SettingsError(said.get("error") or f"{self.place} {spell(status)} before it was ready")
        self.ready = True
        log.info("%s is ready, process %d", self.place, process.pid)

    async def keep_running(self, restarted: Callable[[], None]) -> None:
        """Starts it anew whenever it ends, until cancelled; one that ends again and again is given longer pauses."""
        pause, since = FIRST_PAUSE, time.monotonic()
        while True:
            status = await self.wait()
            if time.monotonic() - since > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            log.error("%s %s; it is started anew in %g s", self.place, spell(status), pause)
            await asyncio.sleep(pause)
            pause, since = min(2 * pause, LONGEST_PAUSE), time.monotonic()
            restarted()
            try:
                await self.start()
            except (SettingsError, OSError) as error:
                log.error("%s did not start: %s", self.place, error)

    async def wait(self) -> int:
        """Its exit status, once it has ended."""
        assert self._process is not None
        status = await self._process.wait()
        self.ready = False
        return status

    async def drain(self) -> int:
        """Its exit status once it has drained; one that is not ready has nothing to finish."""
        if not self.ready:
            await self.kill()
            return 0
        self.tell(DRAIN)
        try:
            async with asyncio.timeout(self._settings.drain_delay + self._settings.drain_grace + LEAVE):
                return await self.wait()
        except TimeoutError:
            log.error("%s does not end; it is killed", self.place)
            await self.kill()
            return 1

    def tell(self, order: bytes) -> None:
        """An order, or nothing where it has just ended."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(order)

    async def kill(self) -> None:
        if self._process:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self.wait()


def spell(status: int) -> str:
    """An exit status in words."""
    return f"ended with exit code {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"
