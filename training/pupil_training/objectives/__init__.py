"""What a run minimises: one file a way of learning."""

from pupil_training.objectives.build import build_objective
from pupil_training.objectives.objective import Lesson, Losses, Objective

__all__ = ["Lesson", "Losses", "Objective", "build_objective"]
