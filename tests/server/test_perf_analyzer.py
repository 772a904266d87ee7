"""Triton's own load generator, where it is at hand.

`perf_analyzer` on the PATH, or named by PERF_ANALYZER. The Linux wheel of tritonclient 2.50 is the last that carries it
(it wants libcudart.so.12 and libb64.so.0d); the package of its own name is empty.
"""

import os
import re
import shutil
import subprocess

import pytest

BINARY = os.environ.get("PERF_ANALYZER") or shutil.which("perf_analyzer")


@pytest.mark.skipif(not BINARY, reason="no perf_analyzer on the PATH or in PERF_ANALYZER")
@pytest.mark.parametrize(
    "options",
    [
        ("-b", "1"),
        ("-b", "4", "--async", "--concurrency-range", "8"),
        ("-b", "1", "--async", "--concurrency-range", "64"),
        ("-b", "4", "--async", "--streaming", "--concurrency-range", "16"),
        ("-b", "1", "--async", "--request-rate-range", "100"),
    ],
    ids=" ".join,
)
def test_perf_analyzer_measures_us_as_it_is(server, options: tuple[str, ...]) -> None:
    short = ["--measurement-mode", "count_windows", "--measurement-request-count", "50", "-r", "4", "-s", "9999"]
    command = [str(BINARY), "-m", "student", "-u", server.address, "-i", "grpc", *short, *options]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    counts = {name: int(count) for name, count in re.findall(r"(\w+) count: (\d+)", ran.stdout)}
    assert counts["Request"] >= 50
    images = counts["request"] * int(options[1])  # both as the server counted them, but for what was on its way
    assert counts["Inference"] == pytest.approx(images, rel=0.5)
    assert float(re.search(r"throughput: ([\d.]+) infer/sec", ran.stdout)[1]) > 0
