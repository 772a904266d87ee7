"""The same image in two splits, one of which is to say how good the model is on images that it has not seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pupil_training.errors import DataError

AGAINST = {  # on the right what must stay new to what is on the left; calibration's promise comes before all
    "train": ("validation", "calibration", "test"),
    "pool": ("validation", "calibration", "test"),
    "labels.file": ("validation", "calibration", "test"),
    "validation": ("calibration",),
}


@dataclass(frozen=True)
class Marked:
    """The images of one split, each with the marks that tell it: its digest, and its group if it has one."""

    names: Sequence[str]
    marks: Sequence[Sequence[str]]  # each (N,): all digests, all groups

    def __len__(self) -> int:
        return len(self.names)


def shared(one: Marked, other: Marked) -> NDArray[np.bool_]:
    """Which images (N,) of `one` have a mark that is also in `other`."""
    found = np.zeros(len(one), dtype=np.bool_)
    for ours, theirs in zip(one.marks, other.marks, strict=False):  # groups only where both have them
        there = set(theirs)
        found |= np.array([mark in there for mark in ours], dtype=np.bool_)
    return found


def refuse_overlap(splits: Mapping[str, Marked]) -> None:
    """Raises DataError for the first two splits that must be strangers and are not."""
    for split, others in AGAINST.items():
        for other in others:
            if split in splits and other in splits:
                _refuse(split, splits[split], other, splits[other])


def _refuse(split: str, ours: Marked, other: str, theirs: Marked) -> None:
    found = np.flatnonzero(shared(ours, theirs))
    if not len(found):
        return
    here = found[0]
    digests = list(theirs.marks[0])
    if ours.marks[0][here] in digests:
        there, alike = digests.index(ours.marks[0][here]), "the same image"
    else:
        there, alike = list(theirs.marks[1]).index(ours.marks[1][here]), f"of one group, {ours.marks[1][here]}"
    raise DataError(
        f"{ours.names[here]} in {split} and {theirs.names[there]} in {other} are {alike}, "
        f"and so are {len(found)} of {split} in all; data.overlap = 'drop' leaves them out of {split}, 'allow' in"
    )
