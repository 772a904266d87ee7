"""Trains teachers, distils students. The front door; its rooms are opened only when entered, because torch is heavy."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pupil_training.data import ImageSet, load_split, read_splits
    from pupil_training.digits import write_digits
    from pupil_training.errors import DataError, RecipeError, RunError, TeacherError, TrainingError
    from pupil_training.loop import train
    from pupil_training.losses import distillation_loss
    from pupil_training.models import Classifier
    from pupil_training.recipe import Recipe, load_recipe
    from pupil_training.runs import Run, load_run

_ROOMS = {
    "load_recipe": "recipe",
    "Recipe": "recipe",
    "train": "loop",
    "load_run": "runs",
    "Run": "runs",
    "Classifier": "models",
    "distillation_loss": "losses",
    "load_split": "data",
    "read_splits": "data",
    "ImageSet": "data",
    "write_digits": "digits",
    "TrainingError": "errors",
    "RecipeError": "errors",
    "DataError": "errors",
    "RunError": "errors",
    "TeacherError": "errors",
}

__all__ = [  # noqa: RUF022 (in order of use)
    "load_recipe",
    "Recipe",
    "train",
    "load_run",
    "Run",
    "Classifier",
    "distillation_loss",
    "load_split",
    "read_splits",
    "ImageSet",
    "write_digits",
    "TrainingError",
    "RecipeError",
    "DataError",
    "RunError",
    "TeacherError",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'pupil_training' has no attribute '{name}'")
    return getattr(import_module(f"pupil_training.{_ROOMS[name]}"), name)
