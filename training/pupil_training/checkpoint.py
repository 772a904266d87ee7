"""The state of a run between two steps: tensors and plain values, written whole, read without running code."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pupil_training.errors import RunError
from pupil_training.files import written_whole

FORMAT = 2


@dataclass(frozen=True)
class Checkpoint:
    """Everything that the rest of a run depends on, beside its recipe and its data.

    There is no random state: every draw follows from the seed and the step (`pupil_training.seeds`).
    """

    step: int  # steps done
    seconds: float  # spent so far
    model: dict[str, Tensor]  # what is evaluated, exported and served: the averaged weights where there are such
    raw: dict[str, Tensor]  # what is trained, where that is something else
    own: dict[str, Tensor]  # what the objective trains beside it
    optimizer: dict[str, Any]
    scaler: dict[str, Any]  # of losses in fp16
    origin: dict[str, str] = field(default_factory=dict)  # SHA-256 of all that taught it so far; empty in older ones


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Writes it; when the disk is full the file that was there stays. Raises OSError."""
    write_state(path, {"format": FORMAT, **asdict(checkpoint)})


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Tensors and plain values, written whole. Raises OSError."""
    try:
        with written_whole(path) as file:
            torch.save(state, file)
    except RuntimeError as error:  # what torch makes of a failed write
        why = f"is the disk full? torch says: {str(error).splitlines()[0]}"
        raise OSError(f"{path}: not saved, what was there before stays; {why}") from error


def load(path: Path) -> Checkpoint:
    """Reads it, on the CPU. Raises RunError: missing, damaged, of another format, or with NaN weights."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RunError(f"{path}: no such checkpoint") from None
    except Exception as error:  # torch.load raises half a dozen types for a damaged file
        raise RunError(f"{path}: damaged, or not a checkpoint ({type(error).__name__})") from None
    if not isinstance(state, dict) or state.pop("format", None) != FORMAT:
        raise RunError(f"{path}: not a checkpoint of format {FORMAT}")
    checkpoint = Checkpoint(**state)
    for name, tensor in checkpoint.model.items():
        if not tensor.isfinite().all():
            raise RunError(f"{path}: '{name}' holds NaN or infinite values; train again with a lower learning rate")
    return checkpoint
