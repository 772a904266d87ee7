"""What the processor cannot do."""

import platform
from pathlib import Path

VNNI = {"avx512_vnni", "avx_vnni"}


def int8_overflows(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether ONNX Runtime's fast int8 products overflow here, into nonsense, as on x86 without VNNI."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:  # no Linux, so nobody to ask: exact and slower is the safe side
        return platform.machine().lower() in ("x86_64", "amd64")
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set[str]())  # ARM has no such line
    return bool(flags) and not flags & VNNI
