"""What the user can mend, in one line."""

from pupil_training.errors import TrainingError


class ExportError(TrainingError):
    """The run cannot become a bundle: what, where, what next."""
