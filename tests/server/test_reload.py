import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from pupil_proto.v1 import models_pb2

PATIENCE = 20.0


def ready(stubs) -> list[tuple[str, int]]:
    found = stubs.models.List(models_pb2.ListModelsRequest(), timeout=PATIENCE).models
    return [(model.name, model.version) for model in found if model.state == models_pb2.STATE_READY]


def test_sighup_loads_what_is_new_in_the_repository(start, connect, toolbox, repository, becomes) -> None:
    with start() as server:
        stubs = connect(server.address)
        toolbox.write_bundle(repository, "student", 2, seed=3)
        toolbox.write_bundle(repository, "newcomer", seed=4)
        server.process.send_signal(signal.SIGHUP)
        becomes(lambda: ready(stubs) == [("newcomer", 1), ("student", 2), ("teacher", 1)])


def test_sighup_with_a_broken_bundle_says_so_and_the_server_goes_on(
    start, connect, toolbox, repository, becomes
) -> None:
    with start() as server:
        stubs = connect(server.address)
        bundle = toolbox.write_bundle(repository, "student", 2, seed=3)
        (bundle / "model.onnx").write_bytes(b"\0")
        server.process.send_signal(signal.SIGHUP)
        becomes(lambda: "model.onnx: changed since it was exported" in server.log.read_text())
        assert ready(stubs) == [("student", 1), ("teacher", 1)]
        toolbox.write_bundle(repository, "student", 3, seed=4)
        server.process.send_signal(signal.SIGHUP)  # it is still heard
        becomes(lambda: ("student", 3) in ready(stubs))


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_server_at_once(start, connect, becomes, first: signal.Signals) -> None:
    with start("--drain-delay", "60") as server:
        channel = connect(server.address).channel
        server.process.send_signal(first)
        becomes(lambda: "draining" in server.log.read_text())
        grpc.channel_ready_future(channel).result(timeout=PATIENCE)  # the door is still open
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=5) == -signal.SIGTERM


CONTAINER = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")


@pytest.fixture
def contained(tmp_path: Path) -> Path:
    """A Python that is the first process of its container."""
    if not shutil.which("unshare") or subprocess.run([*CONTAINER, "true"], capture_output=True).returncode:
        pytest.skip("no process may be made the first one here")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {" ".join(CONTAINER)} {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


def test_a_second_signal_ends_the_first_process_of_a_container_too(toolbox, repository, contained, becomes) -> None:
    with toolbox.run_server(repository, "--drain-delay", "60", python=contained) as server:
        outside = server.process.pid
        inside = int(Path(f"/proc/{outside}/task/{outside}/children").read_text())
        os.kill(inside, signal.SIGTERM)
        becomes(lambda: "draining" in server.log.read_text())
        os.kill(inside, signal.SIGTERM)
        assert server.process.wait(timeout=5) == 128 + signal.SIGTERM
