"""What docs/serving.md tells a reader to type runs as it stands there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PATIENCE = 60.0
DOCS = (Path(__file__).parent.parent.parent / "docs/serving.md").read_text()
PROTOCOLS = DOCS.partition("\n## Protocols\n")[2].partition("\n## ")[0]


@pytest.fixture
def reader(start, toolbox, tmp_path):
    """`reader(command)`: what it prints, in a folder with a photo, beside a server."""
    (tmp_path / "photo.png").write_bytes(toolbox.png(toolbox.random_pixels(1, seed=0)[0]))
    with start("--http-gateway") as server:

        def types(*command: str) -> str:
            places = [
                w.replace("localhost:50051", server.address).replace("localhost:8080", server.http) for w in command
            ]
            ran = subprocess.run(places, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
            assert ran.returncode == 0, ran.stderr
            return ran.stdout

        yield types


def test_the_example_with_tritonclient_runs(reader) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PROTOCOLS, flags=re.DOTALL)
    assert "class-" in reader(sys.executable, "-c", example)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_the_lines_with_curl_are_answered(reader) -> None:
    (block,) = re.findall(r"```console\n(.*?)```", PROTOCOLS, flags=re.DOTALL)
    for line in block.splitlines():
        assert '"label": "class-' in reader("bash", "-c", line.removeprefix("$ "))
