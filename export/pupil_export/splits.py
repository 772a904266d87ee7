"""The images that a run is judged by, and whether they are still those it was trained with."""

import numpy as np
from numpy.typing import NDArray

from pupil_export.errors import ExportError
from pupil_training.data.images import ImageSet, Pictures
from pupil_training.runs import Run


def load_splits(run: Run) -> dict[str, ImageSet]:
    """The validation split, and those of test, calibration and pool that the run's data has.

    Raises ExportError where the data changed: what is cut out of it would then not be new to the model.
    """
    splits = run.splits()
    loaded = {"validation": splits.load("validation")}
    _check_unchanged(run, "validation", loaded["validation"])
    loaded |= {split: splits.load(split) for split in ("test", "calibration", "pool") if splits.has(split)}
    if splits.cuts("calibration"):
        _check_unchanged(run, "train", splits.stream("train"))
    return loaded


def training_images(run: Run, most: int) -> NDArray[np.uint8]:
    """At most this many of the images (N, H, W, C) that the run learned from, from its whole training split.

    Raises ExportError where the data changed.
    """
    train = run.load_split("train")
    _check_unchanged(run, "train", train)
    images: NDArray[np.uint8] = train.images.numpy()
    return images[spread(len(images), most)]


def spread(count: int, most: int) -> NDArray[np.int64]:
    """At most `most` places of `count`, evenly far apart: splits are sorted by class, so each gets its share."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def labels_of(images: ImageSet) -> NDArray[np.int64]:
    """The labels (N,) of a labelled split."""
    assert images.labels is not None  # only the pool has none
    labels: NDArray[np.int64] = images.labels.numpy()
    return labels


def _check_unchanged(run: Run, split: str, images: Pictures) -> None:
    if run.result["data"][split] != images.sha256:
        raise ExportError(
            f"{run.recipe.data.root}: its {split} images changed since {run.folder} was trained; "
            "put them back, or train again"
        )
