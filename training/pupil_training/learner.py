"""A student with all that a step changes, to be saved and restored together."""

from dataclasses import dataclass

from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from pupil_training.checkpoint import Checkpoint
from pupil_training.ema import Ema
from pupil_training.models import Classifier
from pupil_training.objectives import Objective


@dataclass(frozen=True)
class Learner:
    """What a checkpoint holds, as objects."""

    student: Classifier
    objective: Objective
    ema: Ema | None
    optimizer: Optimizer
    scaler: GradScaler
    origin: dict[str, str]  # SHA-256 of what it learns from, by name

    @property
    def result(self) -> Classifier:
        """What is evaluated and kept: the averaged weights where there are such."""
        return self.ema.model if self.ema else self.student

    def state(self, step: int, seconds: float) -> Checkpoint:
        """After a step, and so many seconds of training."""
        return Checkpoint(
            step,
            seconds,
            model=self.result.state_dict(),
            raw=self.student.state_dict() if self.ema else {},
            own=self.objective.own.state_dict(),
            optimizer=self.optimizer.state_dict(),
            scaler=self.scaler.state_dict(),
            origin=self.origin,
        )

    def restore(self, before: Checkpoint) -> None:
        """Goes back to a saved state."""
        self.result.load_state_dict(before.model)
        if self.ema:
            self.student.load_state_dict(before.raw)
        self.objective.own.load_state_dict(before.own)
        self.optimizer.load_state_dict(before.optimizer)
        self.scaler.load_state_dict(before.scaler)
