import os
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_a_process_that_is_pinned_to_one_core_uses_one() -> None:
    script = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    script += "from pupil_server.resources import usable_cores; print(usable_cores())"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "1"
