"""From pictures that were listed to images that can be learned from."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pupil_training.data.images import ImageSet, Pictures, set_sha256
from pupil_training.data.reading import Reading, read
from pupil_training.data.source import UNLABELLED, Listing
from pupil_training.data.streamed import SKIP, Streamed
from pupil_training.errors import DataError
from pupil_training.preprocess import Preprocess
from pupil_training.settings import DataSettings


class About(NamedTuple):
    """What a set says beside its images, in the order of `Pictures`."""

    labels: Tensor | None
    classes: tuple[str, ...]
    sha256: str
    digests: tuple[str, ...]
    skipped: tuple[str, ...]


def load(listing: Listing, data: DataSettings, classes: tuple[str, ...]) -> ImageSet:
    """The pictures, decoded. Raises DataError where one is unreadable, unless such are to be skipped."""
    reading = read(listing.pictures, Preprocess.of(data), what=f"reading {data.root}")
    good = _readable(reading, data)
    kept = listing.take(good)
    pixels = reading.pixels[good] if reading.problems else reading.pixels
    return ImageSet(torch.from_numpy(pixels), *_about(kept, reading, classes), kept.pictures)


def stream(listing: Listing, data: DataSettings, classes: tuple[str, ...]) -> Pictures:
    """The pictures, to be decoded when they are asked for; now only their bytes are looked at.

    Where unreadable ones are to be skipped, each is decoded once to know them, which costs as much as an epoch.
    """
    preprocess = Preprocess.of(data)
    verify = preprocess if data.unreadable == "skip" else None
    reading = read(listing.pictures, verify, keep=False, what=f"looking through {data.root}")
    kept = listing.take(_readable(reading, data))
    return Pictures(Streamed(kept.pictures, preprocess), *_about(kept, reading, classes), kept.pictures)


def _readable(reading: Reading, data: DataSettings) -> NDArray[np.int64]:
    bad, count = len(reading.problems), len(reading.digests)
    if bad and data.unreadable == "refuse":
        problem = reading.first_problem()
        raise DataError(f"{problem}; {bad} of {count} images are unreadable ({SKIP})")
    good = reading.good()
    if not len(good):
        raise DataError(f"{data.root}: none of its {count} images is readable")
    return good


def _about(kept: Listing, reading: Reading, classes: tuple[str, ...]) -> About:
    labelled = bool((kept.labels != UNLABELLED).all())
    digests = tuple(digest for digest in reading.digests if digest)
    classes_of = [classes[label] if labelled else "" for label in kept.labels.tolist()]
    return About(
        torch.from_numpy(kept.labels) if labelled else None,
        classes,
        set_sha256(zip(digests, classes_of, strict=True)),
        digests,
        tuple(reading.problems[i] for i in sorted(reading.problems)),
    )
