"""The README's tour and its Python run as they stand there."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
PATIENCE = 600  # seconds for the longest command


def section(heading: str) -> str:
    return README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(text: str) -> list[str]:
    """What stands behind `$ ` in console blocks, with lines that end in a backslash joined."""
    lines = "".join(blocks("console", text)).replace("\\\n", "").splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Reader:
    """Someone who types what the README says, in an empty folder, with nothing else on the machine listening."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.folder = folder
        self.address = f"localhost:{port}"
        self.server: subprocess.Popen[str] | None = None
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = os.environ | {
            "PATH": path, "PUPIL_PORT": str(port), "PUPIL_HTTP_PORT": "0", "PUPIL_SERVER": self.address,
        }  # fmt: skip

    def types(self, command: str) -> str:
        """Runs it as a shell does; a command that ends in & is a server, and is waited for until it is ready."""
        if command.endswith(" &"):
            self.serves(command.removesuffix(" &"))
            return ""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stderr[-2000:]}"
        return done.stdout

    def serves(self, command: str) -> None:
        self.server = subprocess.Popen(
            command.split(), cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        assert self.server.stdout is not None
        assert self.server.stdout.readline()

    def leaves(self) -> None:
        if self.server:
            self.server.kill()
            self.server.wait(timeout=10)
            assert self.server.stdout is not None
            self.server.stdout.close()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    someone = Reader(tmp_path_factory.mktemp("tour"))
    yield someone
    someone.leaves()


@pytest.mark.slow
def test_every_command_of_the_tour_works_in_its_turn_and_then_the_python_beside_it(reader: Reader) -> None:
    tour = commands(section("The tour: teacher to student, by hand"))
    verbs = {command.split()[1] for command in tour if command.startswith("pupil ")}
    circle = {"train", "distill", "evaluate", "report", "export", "serve", "classify", "compare", "label", "models"}
    assert verbs == circle
    for command in tour:
        reader.types(command)
    pythons = blocks("python", section("Use it from your own code"))
    assert len(pythons) == 2
    for number, block in enumerate(pythons):
        script = reader.folder / f"block-{number}.py"
        script.write_text(block.replace("localhost:50051", reader.address))
        reader.types(f"python {script}")


def test_every_part_in_the_tree_is_there() -> None:
    root = Path(__file__).parent.parent
    (tree,) = [block for block in blocks("text", section("How it is built")) if "pupil_proto" in block]
    folders = [line.split()[0] for line in tree.splitlines()]
    assert [folder for folder in folders if not (root / folder).is_dir()] == []
