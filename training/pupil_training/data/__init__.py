"""Images and their labels, in memory: one `ImageSet` a split."""

from pupil_training.data.images import ImageSet
from pupil_training.data.splits import SPLITS, load_split

__all__ = ["SPLITS", "ImageSet", "load_split"]
