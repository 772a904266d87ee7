"""What a server needs in order to start, and the one line that it says where it cannot."""

import asyncio
import re
import socket
import subprocess
import sys
from pathlib import Path

import click
import grpc
import pytest
from click.testing import CliRunner

from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import models_pb2
from pupil_server.cli import serve as command
from pupil_server.errors import SettingsError
from pupil_server.server import Server
from pupil_server.settings import ServerSettings

PATIENCE = 20.0
STUDENT = pb.ModelSpec(name="student")


def serve(repository: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A `pupil serve` that is expected to give up by itself."""
    command = [sys.executable, "-m", "pupil_client", "serve", "--repository", str(repository), "--http-port", "0"]
    return subprocess.run([*command, "--device", "cpu", *options], capture_output=True, text=True, timeout=60)


def test_a_ready_server_is_live_ready_and_shows_its_metrics(server) -> None:
    assert server.get("livez") == (200, "ok\n")
    assert server.get("readyz") == (200, "ok\n")
    status, metrics = server.get("metrics")
    assert status == 200
    assert 'pupil_model_state{model="student",version="1"} 3.0' in metrics
    assert server.get("secrets")[0] == 404


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda bundle: (bundle / "model.onnx").write_bytes(b"\0"), "model.onnx: changed since it was exported"),
        (lambda bundle: (bundle / "bundle.json").write_text("{"), "bundle.json: not JSON"),
    ],
)
def test_a_broken_bundle_ends_the_start_with_one_line(repository, damage, says: str) -> None:
    damage(repository / "student/1")
    ended = serve(repository)
    assert ended.returncode == 1
    assert ended.stdout == ""
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert says in last
    assert "Traceback" not in ended.stderr


def test_an_empty_repository_ends_the_start_with_what_to_do(tmp_path) -> None:
    ended = serve(tmp_path)
    assert (ended.returncode, "write one with pupil export" in ended.stderr) == (1, True)


@pytest.mark.parametrize("inside", ["student", "student/1"])
def test_a_folder_inside_the_repository_ends_the_start_with_the_one_that_was_meant(repository, inside: str) -> None:
    ended = serve(repository / inside)
    assert ended.stderr.splitlines()[-1].endswith(f"bundle.json here; the repository is {repository.resolve()}")


def test_a_port_in_use_ends_the_start_with_one_line(repository) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for option in ("--port", "--http-port"):
            ended = serve(repository, "--port", "0", option, port)
            assert ended.returncode == 1
            assert f"127.0.0.1:{port} is in use" in ended.stderr.splitlines()[-1]
            assert f"choose another {option} or --host" in ended.stderr.splitlines()[-1]
            assert "student/1" not in ended.stderr, "models were read first, which may take minutes"
            assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("name", "why"), [("no folder/s", "No such file"), ("notes", "already in use"), ("long" * 30, "too long")]
)
def test_a_socket_file_that_cannot_be_is_told_before_models_are_read(repository, tmp_path, caplog, name, why) -> None:
    (tmp_path / "notes").write_text("no socket, and somebody's")
    caplog.set_level("INFO")
    settings = ServerSettings(repository=repository, unix=tmp_path / name, http_port=0, device="cpu")

    async def start() -> None:
        await Server(settings).start()

    with pytest.raises(OSError, match=f"is in use or not ours to use; choose another --unix: .*{why}"):
        asyncio.run(start())
    assert "is being loaded" not in caplog.text
    assert (tmp_path / "notes").read_text() == "no socket, and somebody's"


def test_settings_come_from_a_file_and_a_mistyped_one_is_answered_with_the_right_one(repository, tmp_path) -> None:
    config = tmp_path / "server.toml"
    config.write_text("max_bach = 8\n")
    ended = serve(repository, "--config", str(config))
    assert ended.returncode == 1
    assert "unknown setting 'max_bach'; did you mean 'max_batch'?" in ended.stderr


def test_a_setting_file_is_obeyed(repository, tmp_path, start, connect) -> None:
    config = tmp_path / "server.toml"
    config.write_text("max_batch = 7\n")
    with start("--config", str(config)) as server:
        info = connect(server.address).models.Get(models_pb2.GetModelRequest(model=STUDENT), timeout=PATIENCE)
        assert info.max_batch_images == 7


def test_only_the_models_that_were_named_are_loaded(start, connect) -> None:
    with start("--models", "teacher") as server:
        stubs = connect(server.address)
        states = {
            model.name: model.state
            for model in stubs.models.List(models_pb2.ListModelsRequest(), timeout=PATIENCE).models
        }
        assert states == {"teacher": models_pb2.STATE_READY, "student": models_pb2.STATE_UNLOADED}
        with pytest.raises(grpc.RpcError) as raised:
            stubs.models.Get(models_pb2.GetModelRequest(model=STUDENT), timeout=PATIENCE)
        assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_an_alias_file_that_makes_no_sense_ends_the_start_with_one_line(repository) -> None:
    (repository / "student/aliases.json").write_text('["stable"]')
    ended = serve(repository)
    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False)
    assert "aliases.json: not understood" in ended.stderr


def test_a_server_without_a_repository_is_told_to_name_one() -> None:
    ended = CliRunner().invoke(command, [])
    assert (ended.exit_code, ended.exception.__class__) == (2, SystemExit)
    assert "Missing option '--repository' (env var: 'PUPIL_REPOSITORY')" in ended.stderr


def test_every_setting_has_an_environment_variable_that_can_be_set() -> None:
    options = [each for each in command.params if isinstance(each, click.Option) and each.name != "config"]
    assert {each.name: each.envvar for each in options} == {each.name: f"PUPIL_{each.name.upper()}" for each in options}


@pytest.mark.parametrize("option", [("--models", "studnet"), ("--versions", "studnet=1")])
def test_a_model_that_is_not_there_ends_the_start_with_those_that_are(repository, option: tuple[str, str]) -> None:
    ended = serve(repository, "--port", "0", *option)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith("no model studnet; it has: student, teacher")


def test_a_host_that_does_not_exist_is_no_matter_of_the_port(repository) -> None:
    ended = serve(repository, "--port", "0", "--host", "no-such-host.invalid")
    last = ended.stderr.splitlines()[-1]
    assert re.match(r"Error: no-such-host\.invalid:0 is in use or not ours .* --http-port or --host: .*not known", last)


def test_one_model_in_a_settings_file_needs_no_list(repository, tmp_path, start, connect) -> None:
    config = tmp_path / "server.toml"
    config.write_text('models = "teacher"\n')
    with start("--config", str(config)) as server:
        listed = connect(server.address).models.List(models_pb2.ListModelsRequest(), timeout=PATIENCE).models
        assert [model.name for model in listed if model.state == models_pb2.STATE_READY] == ["teacher"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"keep_disagreements": Path("kept")}, "--keep-disagreements: keeps what --shadow finds"),
        ({"keep_images": True, "shadow": 0.1}, "--keep-images: keeps them beside --keep-disagreements"),
    ],
)
def test_a_setting_that_would_do_nothing_without_another_one_asks_for_it(tmp_path, settings, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        Server(ServerSettings(repository=tmp_path, **settings))
