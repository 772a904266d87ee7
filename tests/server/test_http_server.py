"""What one more connection costs, with a call in flight on it, and what more of them cost than there may be."""

import queue
import resource
import socket
import sys
from contextlib import ExitStack
from errno import EMFILE
from types import SimpleNamespace
from unittest.mock import Mock

import grpc
import pytest

from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import inference_pb2_grpc
from pupil_proto.v1.models_pb2 import ListModelsRequest
from pupil_server import http_server
from pupil_server.http_server import BoundedHTTPServer
from pupil_server.posts import PostHandler
from pupil_server.resources import most_files

PATIENCE = 60.0
CONNECTIONS, MOST_KB = 120, 100
FILES = 160


def test_a_connection_with_a_call_on_it_takes_less_than_100_kb(repository, toolbox) -> None:
    pytest.importorskip("pupil_server.nghttp2.binding", exc_type=ImportError, reason="the lean front needs libnghttp2")
    height, width, channels = toolbox.height, toolbox.width, toolbox.channels
    data = toolbox.random_pixels(1, seed=0).tobytes()
    pixels = pb.Pixels(data=data, count=1, height=height, width=width, channels=channels)
    asked = pb.ClassifyRequest(model=pb.ModelSpec(name="student"), images=pb.Images(pixels=pixels))

    def talk(address: str, opened: ExitStack) -> None:
        """A connection of its own, and a stream on it that was answered once and goes on."""
        channel = opened.enter_context(grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]))
        requests: queue.SimpleQueue[pb.ClassifyRequest | None] = queue.SimpleQueue()
        opened.callback(requests.put, None)
        requests.put(asked)
        stream = inference_pb2_grpc.InferenceStub(channel).ClassifyStream(iter(requests.get, None), timeout=PATIENCE)
        assert next(stream).predictions
        opened.callback(stream.cancel)

    with toolbox.run_server(repository, "--front", "nghttp2") as server, ExitStack() as opened:
        before = server.memory_mb()
        for _ in range(CONNECTIONS):
            talk(server.address, opened)
        assert (server.memory_mb() - before) * 1000 / CONNECTIONS < MOST_KB


def test_more_connections_than_files_disturb_neither_probes_nor_who_is_inside(
    repository, toolbox, connect, tmp_path
) -> None:
    pytest.importorskip("pupil_server.nghttp2.binding", exc_type=ImportError, reason="the lean front needs libnghttp2")
    few = tmp_path / "python"
    few.write_text(f'#!/bin/sh\nulimit -n {FILES}\nexec {sys.executable} "$@"\n')
    few.chmod(0o755)
    with toolbox.run_server(repository, "--front", "nghttp2", python=few) as server, ExitStack() as opened:
        inside = connect(server.address).models
        inside.List(ListModelsRequest(), timeout=PATIENCE)
        host, _, port = server.address.rpartition(":")
        crowd = [opened.enter_context(socket.socket()) for _ in range(2 * FILES)]
        for each in crowd:
            each.setblocking(False)
            each.connect_ex((host, int(port)))
        assert server.get("readyz") == server.get("livez") == (200, "ok\n")
        inside.List(ListModelsRequest(), timeout=PATIENCE)
        for each in crowd:
            each.close()
        connect(server.address).models.List(ListModelsRequest(), timeout=PATIENCE, wait_for_ready=True)
        assert server.get("readyz") == (200, "ok\n")
        assert "Too many open files" not in server.log.read_text()


def test_who_finds_no_file_for_a_connection_waits_before_looking_again(monkeypatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(http_server, "time", SimpleNamespace(sleep=waited.append))
    with BoundedHTTPServer(("127.0.0.1", 0), PostHandler) as server:
        listening, server.socket = server.socket, SimpleNamespace(accept=Mock(side_effect=OSError(EMFILE, "none left")))
        server._handle_request_noblock()
        server.socket = listening
    assert waited == [http_server.PAUSE]


def test_a_process_asks_for_as_many_files_as_it_may_have() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = min(soft, 256)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
        assert most_files() >= few
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
