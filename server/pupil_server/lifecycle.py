"""From the start to the end of the process, and the signals in between."""

import asyncio
import json
import logging
import os
import signal
import sys

from pupil_server.server import LINGER, Server
from pupil_server.settings import ServerSettings

log = logging.getLogger("pupil.server")

LEAVE = 5.0  # seconds in which everything must have ended once the grace is over


async def serve(settings: ServerSettings) -> None:
    """Runs a server until SIGTERM or SIGINT, then drains it; a second signal ends the process at once.

    SIGHUP reads again what may change. Once ready it prints one line of JSON with its addresses on standard output.
    """
    ended, changed = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, changed.set)  # before the start: by default it would end the process
    server = Server(settings)
    await server.start()

    def end() -> None:
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(signum)  # back to the default: the next one is not asked twice
        ended.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, end)
    addresses = {
        "grpc": f"unix:{settings.unix}" if settings.unix else f"{settings.host}:{server.port}",
        "http": f"{settings.host}:{server.http_port}",
    }
    print(json.dumps(addresses), file=sys.stdout, flush=True)  # noqa: T201  the one line of data
    reloading = asyncio.create_task(_reload_whenever(changed, server))
    await ended.wait()
    reloading.cancel()
    log.info("draining")
    try:
        async with asyncio.timeout(settings.drain_delay + settings.drain_grace + LINGER + LEAVE):
            await server.stop()
    except TimeoutError:
        log.error("something does not end; it is left behind")
        logging.shutdown()
        os._exit(1)  # an ordinary exit would wait for the thread that hangs


async def _reload_whenever(changed: asyncio.Event, server: Server) -> None:
    while True:
        await changed.wait()
        changed.clear()
        log.info("reading repository, tokens and certificates again")
        try:
            await server.reload()
        except Exception:  # the next SIGHUP must find somebody who listens
            log.exception("reading again failed")
