"""One worker: a server that obeys the process which started it, and ends with it.

Its first line on standard input is what it needs to know, each later one an order; the end of the input is the end of
the supervisor, however that came about. On standard output it says once that it is ready, or why it is not.
"""

import asyncio
import json
import logging
import os
import pickle
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import FileIO
from typing import TextIO

from pupil_server import lifecycle, logs
from pupil_server.errors import BundleError, SettingsError
from pupil_server.settings import ServerSettings
from pupil_server.workers.orders import DRAIN, RELOAD
from pupil_server.workers.place import Place


def main() -> None:
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # a service manager sends them to all of us, and the supervisor decides
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to the log
    orders = FileIO(0)  # unbuffered: a thread that waits in a buffer's lock is fatal at the end of the process
    settings, place = pickle.loads(bytes.fromhex(orders.readline().decode()))
    logs.set_up(settings.log_format, place.number)
    try:
        asyncio.run(_serve(settings, place, orders, report=lambda **said: _say(report, said)))
    except (BundleError, SettingsError, OSError) as error:
        _say(report, {"error": str(error)})
        sys.exit(1)


async def _serve(settings: ServerSettings, place: Place, orders: FileIO, report: Callable[..., None]) -> None:
    loop, ended, changed = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    known = {DRAIN: ended, RELOAD: changed}
    threading.Thread(target=_obey, args=(orders, known, loop, place), name="orders", daemon=True).start()
    from pupil_server.server import Server  # takes a second, in which the end of the supervisor would not be seen

    server = Server(settings, place)
    await server.start()
    report(port=server.port)
    await lifecycle.run(server, ended, changed)


def _obey(orders: FileIO, known: Mapping[bytes, asyncio.Event], loop: asyncio.AbstractEventLoop, place: Place) -> None:
    """On a thread of its own: a loop that hangs must not outlive the supervisor either."""
    for order in orders:
        with suppress(RuntimeError):  # the loop has ended, and the process is about to
            loop.call_soon_threadsafe(known[order].set)
    logging.getLogger("pupil.workers").error("%s ends: its supervisor has gone", place)
    shutil.rmtree(place.folder, ignore_errors=True)
    os._exit(1)


def _say(report: TextIO, said: Mapping[str, object]) -> None:
    report.write(json.dumps(said) + "\n")
    report.flush()


if __name__ == "__main__":
    main()
