"""A `pupil serve` process of our own, for as long as we live."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 120.0
DRAIN_SECONDS = 60.0

SERVE = """
import os, signal, threading

def follow():
    while os.read(0, 1):  # ends when the one who started us does, however that was
        pass
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=follow, daemon=True).start()
from pupil_client.command import main
main(prog_name="pupil")
"""


@contextmanager
def running_server(repository: Path, log: Path) -> Iterator[str]:
    """The address of a server on free loopback ports, ready to answer; on leaving, its process has ended,
    and where this process is killed, it ends too.

    Raises `OSError` with the end of its log where it does not get ready.
    """
    command = [sys.executable, "-c", SERVE, "serve", "--repository", str(repository)]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, "--port", "0", "--http-port", "0"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    try:
        yield _address(process, log)
    finally:
        _end(process)


def _address(process: "subprocess.Popen[str]", log: Path) -> str:
    assert process.stdout is not None
    too_long = threading.Timer(START_SECONDS, process.kill)  # ends the line that is waited for, too
    too_long.start()
    try:
        line = process.stdout.readline()
    finally:
        too_long.cancel()
    if not line:
        last = log.read_text().splitlines()[-1:] or ["it said nothing"]
        raise OSError(f"the server did not start: {last[0]} (all of it: {log})")
    return str(json.loads(line)["grpc"])


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(DRAIN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()
