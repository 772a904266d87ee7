"""The pseudo-labelled images that a run learns from: found, chosen, opened."""

import torch

from pupil_training.data.images import Images
from pupil_training.data.labels import PseudoLabels, read_pseudo_labels
from pupil_training.data.reading import read
from pupil_training.data.sample import balanced
from pupil_training.data.splits import Splits
from pupil_training.data.streamed import Streamed
from pupil_training.errors import DataError
from pupil_training.preprocess import Preprocess
from pupil_training.settings import LabelsSettings


def find_pseudo(labels: LabelsSettings, splits: Splits) -> PseudoLabels | None:
    """The accepted images of `labels.file`; of each class only as many as `labels.balance` leaves. Raises DataError."""
    if labels.file is None:
        return None
    pool = splits.marked("pool").marks[0] if splits.has("pool") else []
    pictures = splits.listing("pool").pictures if pool else []
    found = read_pseudo_labels(labels, splits.classes, dict(zip(pool, pictures, strict=True)))
    if splits.data.overlap == "drop":
        known = torch.from_numpy(splits.known("labels.file", found.marked()))
        found = found.take((~known).nonzero()[:, 0])
    if labels.balance:
        hard = found.targets if found.targets.ndim == 1 else found.targets.argmax(1)
        found = found.repeated(balanced(hard, found.confidence))
    if not len(found):
        raise DataError(f"{labels.file}: all its accepted images are ones to be judged on; there is nothing left")
    return found


def open_pseudo(found: PseudoLabels, preprocess: Preprocess, *, streamed: bool) -> Images:
    """Its images, in memory or streamed. Raises DataError where one is unreadable or no longer what was labelled."""
    reading = read(found.pictures, None if streamed else preprocess, what="reading pseudo-labelled images")
    for place, (digest, expected) in enumerate(zip(reading.digests, found.digests, strict=True)):
        if place in reading.problems:
            raise DataError(reading.problems[place])
        if digest != expected:
            name = found.pictures[place].name
            raise DataError(f"{name}: changed since it was labelled (its SHA-256 is no longer that of the labels file)")
    return Streamed(found.pictures, preprocess) if streamed else torch.from_numpy(reading.pixels)
