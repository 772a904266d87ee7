"""A set of images: in memory, or read when they are asked for."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from pupil_training.data.pictures import Picture

MOST_AT_ONCE = 4_000_000  # values of pixels; a VGG needs about 1 GB for as many


class Images(Protocol):
    """Pictures at the model's input size: a tensor, or what decodes them when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: slice | Tensor, /) -> Tensor:
        """uint8 (n, H, W, C)."""
        ...


@dataclass(frozen=True)
class Pictures:
    """One split, its images wherever they are."""

    images: Images
    labels: Tensor | None  # int64 (N,), places in `classes`; None where nobody labelled
    classes: tuple[str, ...]
    sha256: str  # over the images' bytes and labels, in order; the input size does not matter
    digests: tuple[str, ...]  # SHA-256 of each image's own bytes
    skipped: tuple[str, ...]  # files that could not be read, with the reason
    pictures: Sequence[Picture] = field(repr=False)  # what the images were, or will be, decoded from

    def __len__(self) -> int:
        return len(self.images)

    def encoded(self, place: int) -> bytes:
        """One picture as a file, before resizing."""
        return self.pictures[place].encoded()


@dataclass(frozen=True)
class ImageSet(Pictures):
    """One split in memory."""

    images: Tensor  # uint8 (N, H, W, C)


def batch_for(images: Images) -> int:
    """How many of these images (N, H, W, C) are computed at once: few where they are large, at most 1000."""
    return max(4, min(1000, MOST_AT_ONCE // images[:1].numel()))


def batches(images: Images, device: torch.device | None = None) -> Iterator[Tensor]:
    """All images in order, as many at a time as a net has room for, on `device` or where they are."""
    size = batch_for(images)
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        yield batch if device is None else batch.to(device)


def set_sha256(digests: Iterable[tuple[str, str]]) -> str:
    """The SHA-256 of a set from each image's own SHA-256 and label ("" for none)."""
    whole = hashlib.sha256()
    for digest, label in digests:
        whole.update(f"{digest} {label}\n".encode())
    return whole.hexdigest()
