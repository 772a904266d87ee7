"""The image is really built, and its server really called, where buildah and a base image can be had."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pupil_client import Client

ROOT = Path(__file__).parent.parent
BASE_IMAGE = ROOT.parent / "shared/tools/base-image.sh"
BASE = "localhost/python:3.11-slim"
HOST_FILES = ("/etc/ssl/certs", "/etc/pip.conf")  # a build behind a proxy needs the host's

pytestmark = pytest.mark.skipif(
    not (shutil.which("buildah") and shutil.which("debootstrap") and BASE_IMAGE.exists()),
    reason="needs buildah, debootstrap and a script that makes the base image",
)


def buildah(*arguments: object, seconds: float = 900) -> str:
    done = subprocess.run(["buildah", *map(str, arguments)], capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image() -> str:
    if subprocess.run(["buildah", "inspect", "--type", "image", BASE], capture_output=True).returncode:
        subprocess.run(["bash", BASE_IMAGE, BASE], check=True, timeout=600, capture_output=True)
    mounts = [part for file in HOST_FILES if Path(file).exists() for part in ("--volume", f"{file}:{file}:ro")]
    network = ["--isolation", "chroot", "--network", "host"]
    buildah("bud", *network, *mounts, "--build-arg", f"BASE={BASE}", "--tag", "pupil-test", ROOT)
    return "pupil-test"


@pytest.fixture
def container(image: str) -> Iterator[str]:
    name = buildah("from", "--pull-never", image)
    yield name
    buildah("rm", name)


def run(container: str, *command: object) -> list[str]:
    """The command line of `command` inside the container, as the image's user."""
    return ["buildah", "run", "--isolation", "chroot", container, "--", *map(str, command)]


def output(container: str, *command: object) -> str:
    done = subprocess.run(run(container, *command), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_the_image_is_small_runs_as_nobody_special_and_holds_no_torch(container: str) -> None:
    assert output(container, "id", "-u").strip() == "10001"
    installed = {name.lower() for name in output(container, "ls", "/opt/pupil/lib/python3.11/site-packages").split()}
    assert "onnxruntime" in installed
    assert not installed & {"torch", "torchvision", "onnx", "sklearn"}
    megabytes = int(output(container, "du", "-sm", "/opt/pupil").split()[0])
    assert megabytes < 450


def test_the_image_serves_a_repository_to_a_real_client(container: str, toolbox, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    toolbox.write_bundle(repository, "student", seed=2)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # pytest's folders are the host user's alone; the container's user must read them
    port = free_port()
    mount = ["--volume", f"{repository}:/repository:ro"]
    command = run(container, "pupil", "serve", "--host", "127.0.0.1", "--port", port, "--http-port", "0")
    command[2:2] = mount
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            addresses = json.loads(process.stdout.readline())
            with Client(addresses["grpc"]) as client:
                picture = toolbox.png(toolbox.random_pixels(1, seed=0)[0])
                assert client.classify(picture, model="student").label in toolbox.classes
        finally:
            process.terminate()
            process.wait(timeout=60)
