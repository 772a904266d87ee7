"""The server on a file system that nobody can write to, as its container has it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pupil_client import Client

READ_ONLY = 'mount --make-rprivate / && mount --bind / / && mount -o remount,ro,bind / && cd / && exec "$@"'
ALONE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c", READ_ONLY, "sh"]


def can_be_read_only() -> bool:
    try:
        return subprocess.run([*ALONE, "sh", "-c", "! touch /tmp/x"], capture_output=True, timeout=10).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not can_be_read_only(), reason="needs mount namespaces")
def test_the_server_starts_answers_and_ends_where_nothing_can_be_written(repository: Path, toolbox) -> None:
    command = [sys.executable, "-B", "-m", "pupil_client", "serve", "--repository", str(repository), "--device", "cpu"]
    command += ["--port", "0", "--http-port", "0"]
    with subprocess.Popen([*ALONE, *command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            with Client(json.loads(process.stdout.readline())["grpc"]) as client:
                picture = toolbox.png(toolbox.random_pixels(1, seed=0)[0])
                assert client.classify(picture, model="student").label in toolbox.classes
        finally:
            process.terminate()
            assert process.wait(timeout=30) == 0
