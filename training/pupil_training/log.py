"""What a run says while it goes: metrics.jsonl for machines, for people a progress bar on standard error, or lines."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from tqdm import tqdm

from pupil_training.errors import RecipeError
from pupil_training.files import written_whole
from pupil_training.recipe import Recipe


class RunLog:
    """One line of metrics.jsonl a log step, and the bar."""

    def __init__(self, folder: Path, recipe: Recipe, first_step: int, *, leads: bool = True) -> None:
        self._path = folder / "metrics.jsonl"
        self._file: TextIO | None = None
        if leads:
            self._keep_lines_before(first_step)
            self._file = self._path.open("a", encoding="utf-8", buffering=1)
        self._tensorboard = _tensorboard(folder, first_step) if leads and recipe.tensorboard else None
        self._shown: dict[str, str] = {}
        self._bar = tqdm(
            range(first_step, recipe.steps + 1),
            desc=recipe.name,
            initial=first_step - 1,
            total=recipe.steps,
            unit="step",
            disable=None if leads else True,  # silent where standard error is not a terminal
        )

    def steps(self) -> Iterable[int]:
        """The steps that are left to do, shown as they go by."""
        return self._bar

    def write(self, step: int, **metrics: float) -> None:
        """Adds a line, and shows the loss and the accuracy on the bar."""
        if self._file is None:
            return
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        if self._tensorboard is not None:
            for name, value in metrics.items():
                self._tensorboard.add_scalar(name, value, step)
        self._shown |= {name.removeprefix("validation_"): f"{value:.4g}" for name, value in metrics.items()}
        self._shown.pop("learning_rate", None)
        self._bar.set_postfix(self._shown)
        if self._bar.disable and "validation_accuracy" in metrics:  # a log file shows that it lives, too
            shown = ", ".join(f"{name}={value}" for name, value in self._shown.items())
            self.say(f"step {step} of {self._bar.total}: {shown}")

    def say(self, line: str) -> None:
        """A line of its own on standard error."""
        if self._file is not None:
            self._bar.write(line, file=sys.stderr)

    def _keep_lines_before(self, first_step: int) -> None:
        """Drops what an interrupted run wrote after its last checkpoint; it will be written again."""
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        with written_whole(self._path) as file:
            for line in lines:
                if line.endswith("}") and json.loads(line)["step"] < first_step:
                    file.write(f"{line}\n".encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        for output in (self._file, self._tensorboard):
            if output is not None:
                output.close()


def _tensorboard(folder: Path, first_step: int) -> Any:
    """It hides what was written of this step and later ones before, as `_keep_lines_before` drops it."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise RecipeError("tensorboard = true needs the package of that name: pip install tensorboard") from None
    return SummaryWriter(str(folder), purge_step=first_step)
