"""From the start to the end of the process, and the signals in between."""

import asyncio
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Protocol

from pupil_server.settings import ServerSettings

log = logging.getLogger("pupil.server")

NEW_OBJECTS = 10_000  # until Python looks for circles among them; 700 by default, and calls leave none
LEAVE = 5.5  # seconds in which everything must have ended once the grace is over


class Service(Protocol):
    """What is started, told to read again, and stopped: one server, or the supervisor of several."""

    settings: ServerSettings
    port: int
    http_port: int

    async def start(self) -> None: ...
    async def reload(self) -> None: ...
    async def stop(self) -> None: ...


async def serve(make: Callable[[ServerSettings], Service], settings: ServerSettings) -> None:
    """Runs a service until SIGTERM or SIGINT, then drains it; a second signal ends the process at once.

    SIGHUP reads again what may change. Once ready it prints one line of JSON with its addresses on standard output.
    """
    ended, changed = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, changed.set)  # before the start: by default it would end the process
    _end_at_once_when_told()
    service = make(settings)
    await service.start()

    def end() -> None:
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(signum)  # back to the default: the next one is not asked twice
        _end_at_once_when_told()
        ended.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, end)
    addresses = {
        "grpc": f"unix:{settings.unix}" if settings.unix else f"{settings.host}:{service.port}",
        "http": f"{settings.host}:{service.http_port}",
    }
    print(json.dumps(addresses), file=sys.stdout, flush=True)  # noqa: T201  the one line of data
    await run(service, ended, changed)


def _end_at_once_when_told() -> None:
    """By default SIGTERM does that, but not to the first process of a container."""
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda signum, frame: os._exit(128 + signum))


async def run(service: Service, ended: asyncio.Event, changed: asyncio.Event) -> None:
    """Reads again whenever something changed, until the end is asked for; then drains within its time, or exits."""
    gc.set_threshold(NEW_OBJECTS)
    reloading = asyncio.create_task(_reload_whenever(changed, service))
    await ended.wait()
    reloading.cancel()
    log.info("draining")
    try:
        async with asyncio.timeout(service.settings.drain_delay + service.settings.drain_grace + LEAVE):
            await service.stop()
    except TimeoutError:
        log.error("something does not end; it is left behind")
        logging.shutdown()
        os._exit(1)  # an ordinary exit would wait for the thread that hangs


async def _reload_whenever(changed: asyncio.Event, service: Service) -> None:
    while True:
        await changed.wait()
        changed.clear()
        log.info("reading repository, tokens and certificates again")
        try:
            await service.reload()
        except Exception:  # the next SIGHUP must find somebody who listens
            log.exception("reading again failed")
