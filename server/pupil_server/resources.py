"""How many cores this process may really use, and how many files it may open."""

import math
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """The smaller of the affinity mask and the cgroup's CPU quota, at least 1.

    ONNX Runtime and os.cpu_count see the machine's cores; in a container with a quota of one core that means
    as many threads as the host has, fighting for one.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota_v2(cgroup / "cpu.max") or _quota_v1(cgroup / "cpu")
    return max(1, min(allowed, math.ceil(quota))) if quota else allowed


def share_of_cores(workers: int) -> int:
    """The cores of each of so many processes, at least 1."""
    return max(1, usable_cores() // workers)


def most_files() -> int:
    """How many files the process may have open: as many as it can be allowed, which it asks for here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS has a limit that it does not tell
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def _quota_v2(file: Path) -> float | None:
    """Cores from a line such as `150000 100000`; `max` means no limit."""
    try:
        quota, period = file.read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 else None
