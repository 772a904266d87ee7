"""Images and their labels, in memory: one `ImageSet` a split."""

from pupil_training.data.images import ImageSet
from pupil_training.data.splits import SPLITS, has_split, hidden_labels, load_split

__all__ = ["SPLITS", "ImageSet", "has_split", "hidden_labels", "load_split"]
