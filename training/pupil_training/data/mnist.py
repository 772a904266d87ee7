"""MNIST's idx files, read by torchvision: 60,000 images to cut splits from, 10,000 to test on."""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pupil_training.data.cut import cut
from pupil_training.data.images import ImageSet, png, set_sha256
from pupil_training.errors import DataError
from pupil_training.preprocess import Preprocess
from pupil_training.recipe import DataSettings

CLASSES = tuple("0123456789")


def load(data: DataSettings, split: str) -> ImageSet:
    """A split of `<root>/MNIST/raw/*-ubyte`; all but `test` are cut out of the 60,000. Nothing is downloaded."""
    from torchvision.datasets import MNIST  # takes longer to import than torch itself

    try:
        source = MNIST(data.root, train=split != "test", download=False)
    except RuntimeError:
        raise DataError(f"{data.root}: no MNIST/raw/*-ubyte files here; set data.root to their folder") from None
    pixels, numbers = source.data.numpy(), source.targets.numpy()  # uint8 (N, 28, 28), int64 (N,)
    if split != "test":
        shares = {"validation": data.validation, "calibration": data.calibration, "pool": data.pool}
        if not shares.get(split, 1.0):
            raise DataError(f"MNIST has no {split} split of its own: set data.{split} to a share of the 60,000")
        chosen = cut(numbers.tolist(), shares, data.split_seed)[split]
        pixels, numbers = pixels[chosen], numbers[chosen]
    names = [""] * len(numbers) if split == "pool" else [CLASSES[number] for number in numbers]
    digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in pixels]
    return ImageSet(
        images=torch.from_numpy(_fit(pixels, Preprocess.of(data))),
        labels=None if split == "pool" else torch.from_numpy(numbers),
        classes=CLASSES,
        sha256=set_sha256(zip(digests, names, strict=True)),
        encoded=lambda i: png(pixels[i]),
    )


def _fit(pixels: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.uint8]:
    if (preprocess.shortest_side, preprocess.height, preprocess.width, preprocess.channels) == (28, 28, 28, 1):
        return pixels[..., np.newaxis]
    return np.stack([preprocess.fit(Image.fromarray(image)) for image in pixels])
