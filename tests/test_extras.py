"""Each install brings what its part needs, and no more."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
UV = Path(sys.executable).with_name("uv")


def install(folder: Path, what: str) -> Path:
    """A fresh environment in `folder` with `what` of this project; its bin folder."""
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, folder], check=True, timeout=60)
    subprocess.run(
        [
            UV,
            "pip",
            "install",
            "--quiet",
            "--no-config",
            "--python",
            folder / "bin/python",
            f"pupil{what} @ {ROOT.as_uri()}",
        ],
        check=True,
        timeout=600,
    )
    return folder / "bin"


def packages(bin_folder: Path) -> set[str]:
    listed = subprocess.run(
        [UV, "pip", "list", "--format", "json", "--python", bin_folder / "python"], check=True, capture_output=True
    )
    return {package["name"] for package in json.loads(listed.stdout)}


def run(*command: object) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, env=plain, cwd="/")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("base") / "venv", "")


def test_the_base_install_brings_grpcio_and_protobuf_and_little_else(base: Path) -> None:
    assert packages(base) == {"pupil", "click", "grpcio", "protobuf", "tqdm", "typing-extensions"}


def test_the_install_holds_every_file_of_every_part(base: Path) -> None:
    """Stubs, `py.typed`, recipes and templates too."""
    (site,) = base.parent.glob("lib/python*/site-packages")
    parts = {part.parent: part.name for part in ROOT.glob("*/pupil_*")} | {ROOT / "clients/python": "pupil_client"}
    files = [file.relative_to(folder) for folder, part in parts.items() for file in (folder / part).rglob("*.*")]
    recipes = [Path("pupil_training/recipes") / file.name for file in (ROOT / "training/recipes").glob("*.toml")]
    wanted = {file for file in [*files, *recipes] if file.suffix != ".pyc"}
    assert len({file for file in wanted if file.name == "py.typed"}) == len(parts)
    assert {file for file in wanted if not (site / file).is_file()} == set()


def test_with_the_base_install_the_client_opens_and_every_other_verb_says_what_brings_it(base: Path) -> None:
    assert run(base / "python", "-c", "import pupil_client; pupil_client.Client('localhost:1').close()").returncode == 0
    listed = run(base / "pupil", "--help")
    assert listed.returncode == 0
    assert "label" in listed.stdout
    for arguments, extra in (
        (["train", "digits_teacher"], "training"),
        (["report", "/", "--output", "/report.html"], "report"),
        (["export", "/", "--repository", "/"], "export"),
        (["serve", "--repository", "/"], "server"),
        (["demo", "--folder", "/pupil-demo"], "all"),
    ):
        answer = run(base / "pupil", *arguments)
        assert answer.returncode == 1
        assert f"pip install 'pupil[{extra}]'" in answer.stderr
        assert "Traceback" not in answer.stderr
    assert not Path("/pupil-demo").exists()


def test_the_server_install_holds_no_torch_and_serves(tmp_path: Path, toolbox) -> None:
    bin_folder = install(tmp_path / "venv", "[server]")
    assert not packages(bin_folder) & {"torch", "torchvision", "onnx", "onnxscript", "scikit-learn", "onnxruntime-gpu"}
    toolbox.write_bundle(tmp_path / "repository", "student", seed=2)
    with toolbox.run_server(tmp_path / "repository", python=bin_folder / "python") as server:
        picture = tmp_path / "picture.png"
        picture.write_bytes(toolbox.png(toolbox.random_pixels(1, seed=0)[0]))
        answer = run(bin_folder / "pupil", "classify", picture, "--model", "student", "--server", server.address)
        assert answer.returncode == 0, answer.stderr
        assert "class-" in answer.stdout
