"""What the user can mend: one line that says what, where, and what next."""


class TrainingError(Exception):
    """The tree's root; the command line prints it and leaves with exit code 1."""


class RecipeError(TrainingError):
    """A setting that is unknown, of the wrong type, or at odds with another one."""


class DataError(TrainingError):
    """A missing folder, an unreadable image, labels that do not fit."""


class RunError(TrainingError):
    """A run that is missing, unfinished, damaged, or in the way."""


class TeacherError(TrainingError):
    """A bundle or a server that does not teach, or kept answers that are damaged or somebody else's."""


class BundleError(TrainingError):
    """A bundle that is missing, damaged, or says too little about its data."""


class NotInstalled(TrainingError):
    """A library that only some commands need."""
