"""Images and their labels: the splits of a data set, in memory or streamed."""

from pupil_training.data.images import ImageSet
from pupil_training.data.source import SPLITS
from pupil_training.data.splits import Splits, has_split, load_split
from pupil_training.data.written_splits import read_splits

__all__ = ["SPLITS", "ImageSet", "Splits", "has_split", "load_split", "read_splits"]
