"""MNIST's idx files, read by torchvision: 60,000 images to cut splits from, 10,000 to test on."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pupil_training.data.images import ImageSet, png, set_sha256
from pupil_training.data.source import UNLABELLED, Listing
from pupil_training.errors import DataError
from pupil_training.preprocess import Preprocess
from pupil_training.settings import DataSettings

Pixels = NDArray[np.uint8]


class Mnist:
    """`<root>/MNIST/raw/*-ubyte`. Nothing is downloaded. An image is its pixels (28, 28)."""

    classes = tuple("0123456789")

    def __init__(self, data: DataSettings) -> None:
        self._data = data

    def own(self, split: str) -> Listing[Pixels] | None:
        """Train and test."""
        if split not in ("train", "test"):
            return None
        from torchvision.datasets import MNIST  # takes longer to import than torch itself

        root = self._data.root
        try:
            source = MNIST(root, train=split == "train", download=False)
        except RuntimeError:
            raise DataError(f"{root}: no MNIST/raw/*-ubyte files here; set data.root to their folder") from None
        return Listing(source.data.numpy(), source.targets.numpy())  # uint8 (N, 28, 28), int64 (N,)

    def load(self, listing: Listing[Pixels], classes: tuple[str, ...]) -> ImageSet:
        """The pictures; resized where the input is not 28×28."""
        labelled = bool((listing.labels != UNLABELLED).all())
        names = [classes[label] if labelled else "" for label in listing.labels]
        digests = tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in listing.items)
        return ImageSet(
            images=torch.from_numpy(_fit(listing.items, Preprocess.of(self._data))),
            labels=torch.from_numpy(listing.labels) if labelled else None,
            classes=classes,
            sha256=set_sha256(zip(digests, names, strict=True)),
            digests=digests,
            encoded=lambda i: png(listing.items[i]),
        )


def _fit(images: Sequence[Pixels], preprocess: Preprocess) -> NDArray[np.uint8]:
    if (preprocess.shortest_side, preprocess.height, preprocess.width, preprocess.channels) == (28, 28, 28, 1):
        return np.stack(images)[..., np.newaxis]
    return np.stack([preprocess.fit(Image.fromarray(image)) for image in images])
