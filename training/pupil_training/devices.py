"""Where a run computes, in what, and with how many threads."""

import os
import platform
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import nn

from pupil_training.errors import RecipeError

AMP = {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def usable_cores() -> int:
    """The cores that this process may use, which a container or taskset may have made few."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name; Linux alone tells it without asking another program."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def pick_device(name: str, number: int = 0) -> torch.device:
    """ "auto" is CUDA where there is one. Raises RecipeError where CUDA is asked for and missing."""
    if name == "cuda" and not torch.cuda.is_available():
        raise RecipeError("device = 'cuda', but this machine has no CUDA device; use device = 'auto'")
    if name != "cpu" and torch.cuda.is_available():
        return torch.device("cuda", number)
    return torch.device("cpu")


def compiled(module: nn.Module) -> nn.Module:
    """The module behind torch.compile; it shares its weights."""
    faster = torch.compile(module)
    assert isinstance(faster, nn.Module)  # which torch's own annotation does not say
    return faster


def autocast(amp: str, device: torch.device) -> AbstractContextManager[None]:
    """Convolutions and products are computed in `resolved_amp`."""
    amp = resolved_amp(amp, device)
    return torch.autocast(device.type, AMP[amp], enabled=amp != "off")


def resolved_amp(amp: str, device: torch.device) -> str:
    """off, bf16 or fp16; "auto" is bf16 where that is faster."""
    if amp != "auto":
        return amp
    return "bf16" if _favours_bf16(device) else "off"


def _favours_bf16(device: torch.device) -> bool:
    """A processor without AMX knows bf16 too, and takes longer than for fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_amx_tile_supported())
