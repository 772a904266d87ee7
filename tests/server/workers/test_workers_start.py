"""What a supervisor refuses to start with, and how it says so."""

import asyncio
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from pupil_server.errors import SettingsError
from pupil_server.listening import ReservedPort
from pupil_server.settings import ServerSettings
from pupil_server.workers.supervisor import Supervisor


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ({"shadow": 0.1}, "cannot be added up"),
        ({"drift": True}, "cannot be added up"),
        ({"watch_state": Path("state.json")}, "cannot be added up"),
        ({"unix": Path("grpc.sock")}, "a socket file has one listener"),
    ],
)
def test_what_only_one_process_can_do_is_refused_with_the_reason(repository, setting, why: str) -> None:
    with pytest.raises(SettingsError, match=f"--workers: not with .*{why}"):
        Supervisor(ServerSettings(repository=repository, workers=2, **setting))


def test_workers_that_cannot_start_end_the_start_with_one_line_and_leave_nothing(
    repository, toolbox, monkeypatch
) -> None:
    (repository / "student/1/model.onnx").write_bytes(b"\0")
    with tempfile.TemporaryDirectory() as folder:  # a socket's name must be short
        monkeypatch.setattr("tempfile.tempdir", folder)
        supervisor = Supervisor(ServerSettings(repository=repository, workers=2, port=0, http_port=0, device="cpu"))
        with pytest.raises(SettingsError, match=r"model\.onnx: changed since it was exported") as raised:
            asyncio.run(supervisor.start())
        assert "\n" not in str(raised.value)
        assert list(Path(folder).iterdir()) == []
    ReservedPort("127.0.0.1", supervisor.port).close()


def test_a_temporary_folder_with_too_long_a_name_is_told_what_to_do(repository, monkeypatch, tmp_path) -> None:
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    supervisor = Supervisor(ServerSettings(repository=repository, workers=2, port=0, http_port=0))
    with pytest.raises(SettingsError, match="set TMPDIR to a shorter folder"):
        asyncio.run(supervisor.start())
    assert list(folder.iterdir()) == []


def test_a_port_that_somebody_listens_on_is_refused_even_where_that_one_would_share_it() -> None:
    for share in (False, True):
        with socket.socket() as listening:
            if share:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            port = listening.getsockname()[1]
            with pytest.raises(OSError, match=f"127.0.0.1:{port} is in use or not ours to use; choose another --port"):
                ReservedPort("127.0.0.1", port)


def test_a_reserved_port_is_open_to_those_who_share_and_to_nobody_else() -> None:
    reserved = ReservedPort("127.0.0.1", 0)
    with socket.socket() as worker, socket.socket() as other:
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        worker.bind(("127.0.0.1", reserved.port))
        worker.listen()
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", reserved.port))
    reserved.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's way with ports in TIME_WAIT")
def test_connections_that_a_server_before_has_closed_do_not_keep_its_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = listening.accept()
            accepted.close()  # first: its side of the connection waits for a minute
            assert client.recv(1) == b""
    ReservedPort("127.0.0.1", port).close()
