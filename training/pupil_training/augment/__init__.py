"""Random views of pictures."""

from pupil_training.augment.views import Views

__all__ = ["Views"]
