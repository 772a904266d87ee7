"""The five splits of a data set, whichever source it has."""

from pupil_training.data import folders, mnist
from pupil_training.data.images import ImageSet
from pupil_training.errors import DataError
from pupil_training.recipe import DataSettings

SPLITS = ("train", "validation", "calibration", "test", "pool")
SOURCES = {"folders": folders.load, "mnist": mnist.load}


def load_split(data: DataSettings, split: str) -> ImageSet:
    """One of `SPLITS`. A split without a folder of its own is cut out of `train`, by class and by `split_seed`.

    Raises DataError: a missing folder, an empty class, classes that differ, an unreadable image.
    """
    if split not in SPLITS:
        raise DataError(f"'{split}' is not a split; the splits are {', '.join(SPLITS)}")
    return SOURCES[data.source](data, split)
