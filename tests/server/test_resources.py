import os
import subprocess
import sys
from pathlib import Path

import pytest

from pupil_server import onnx_session
from pupil_server.processor import int8_overflows
from pupil_server.resources import usable_cores


@pytest.mark.parametrize(
    ("line", "cores"), [("100000 100000", 1), ("max 100000", None), ("50000 100000", 1), ("nonsense", None), ("", None)]
)
def test_a_quota_of_the_second_cgroup_form_is_obeyed(tmp_path: Path, line: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(line)
    assert usable_cores(tmp_path) == (cores or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(("quota", "cores"), [("100000", 1), ("-1", None)])
def test_a_quota_of_the_first_cgroup_form_is_obeyed(tmp_path: Path, quota: str, cores: int | None) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000")
    assert usable_cores(tmp_path) == (cores or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(
    ("cpuinfo", "overflows"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 avx512f avx512_vnni amx_int8\n", False),
        ("flags : fpu avx2 avx_vnni\n", False),
        ("flags : fpu avx2 avx512f\n", True),
        ("Features : fp asimd asimddp\n", False),
    ],
)
def test_int8_overflows_on_x86_without_vnni_alone(tmp_path: Path, cpuinfo: str, overflows: bool) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert int8_overflows(tmp_path / "cpuinfo") == overflows


@pytest.mark.parametrize("overflows", [True, False])
def test_where_int8_overflows_sessions_multiply_exactly(
    toolbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overflows: bool
) -> None:
    monkeypatch.setattr(onnx_session, "int8_overflows", lambda: overflows)
    graph = toolbox.write_bundle(tmp_path, "student") / "model.onnx"
    named = [("CPUExecutionProvider", dict[str, str]())]
    session = onnx_session.open_session(graph, "cpu", named, threads=1, shape=(6, 6, 3), max_batch=4)
    options = session.get_session_options()
    if overflows:
        assert options.get_session_config_entry("session.x64quantprecision") == "1"
    else:
        with pytest.raises(RuntimeError):
            options.get_session_config_entry("session.x64quantprecision")


def test_a_process_that_is_pinned_to_one_core_uses_one() -> None:
    script = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    script += "from pupil_server.resources import usable_cores; print(usable_cores())"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "1"
