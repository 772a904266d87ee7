"""The other parts, driven as the commands that they bring; none outlives the one who started it."""

import subprocess
import sys
from typing import IO

import click

FOLLOWING = """
import os, signal, sys, threading

def follow():
    while os.read(0, 1):  # ends when the one who started us does, however that was
        pass
    os.kill(os.getpid(), signal.SIGKILL)  # whatever is half done, nothing half is left

threading.Thread(target=follow, daemon=True).start()
"""
PUPIL = "from pupil_client.command import main; main(prog_name='pupil')"
HAND_OUT = "from pupil_training.data.hand_out import main; main(prog_name='hand_out')"


def pupil(lock: IO[bytes], *words: object) -> None:
    """Runs a verb, its talk in sight. Raises ValueError where it fails."""
    _run(PUPIL, "pupil", lock, *words)


def hand_out(lock: IO[bytes], *words: object) -> None:
    """A recipe's pool and validation images, for us who cannot read recipes. Raises ValueError."""
    _run(HAND_OUT, "python -m pupil_training.data.hand_out", lock, *words)


def _run(code: str, typed: str, lock: IO[bytes], *words: object) -> None:
    spelled = [str(word) for word in words]
    click.echo(f"$ {typed} {' '.join(spelled)}", err=True)
    command = [sys.executable, "-c", FOLLOWING + code, *spelled]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=(lock.fileno(),)
    ) as process:
        ended = process.wait()  # which may take days, and goes on where it was if it is ended
    if ended:
        raise ValueError(f"{typed} {spelled[0]} ended with exit code {ended}; what it said stands above")
