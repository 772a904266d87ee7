"""Random views of pictures."""

from pupil_training.augment.views import Views, views_of

__all__ = ["Views", "views_of"]
