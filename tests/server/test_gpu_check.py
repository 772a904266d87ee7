import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from pupil_server.errors import BundleError

FILE = Path(__file__).parents[2] / "benchmarks/gpu_check.py"


@pytest.fixture
def gpu_check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_check", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(any(Path("/dev").glob("nvidia[0-9]*")), reason="there is a device to be checked")
def test_without_a_device_the_check_says_so_and_is_no_failure() -> None:
    ran = subprocess.run([sys.executable, FILE], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout.partition(":")[0]) == (0, "skipped")


def test_each_bucket_is_measured_in_each_way(gpu_check: ModuleType, repository: Path, capsys) -> None:
    """On the CPU, which lacks recorded graphs: the way there is the same."""
    assert gpu_check.check(repository / "student/1", "cpu") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("student/1 fp32: goldens agree, nodes {'cpu': 5}")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert rows[0] == ["batch", "heuristic", "exhaustive", "default", "buffers"]
    assert [row[0] for row in rows[2:]] == ["1", "2", "4", "8", "16", "32"]
    assert all(float(rate.replace(",", "")) > 0 for row in rows[2:] for rate in row[1:])


def test_a_wrong_golden_is_a_failure(gpu_check: ModuleType, repository: Path, toolbox, capsys) -> None:
    golden = repository / "student/1/golden/golden.json"
    goldens = json.loads(golden.read_bytes())
    goldens["images"][0]["scores"].reverse()
    golden.write_text(json.dumps(goldens))
    toolbox.seal(repository / "student/1", json.loads((repository / "student/1/bundle.json").read_bytes()))
    assert gpu_check.check(repository / "student/1", "cpu") == 1
    assert capsys.readouterr().out.startswith("FAILED")


@pytest.mark.parametrize(("device", "failed"), [("cuda", 0), ("tensorrt", 1)])
def test_int8_is_to_be_refused_on_cuda_and_nowhere_else(
    gpu_check: ModuleType, repository: Path, monkeypatch, capsys, device: str, failed: int
) -> None:
    def refuse(*_: object) -> None:
        raise BundleError("4 DequantizeLinear would run on the CPU")

    monkeypatch.setattr(gpu_check, "prepare", refuse)
    monkeypatch.setattr(gpu_check, "read_bundle", lambda folder: SimpleNamespace(precisions={"int8": None}))
    assert gpu_check.check(repository / "student/1", device) == failed
    assert "DequantizeLinear" in capsys.readouterr().out
