"""The same test images as another camera or another hand would have made them: what augmentation should help with.

Every shift is fixed: image i is turned, moved or slanted the way that i decides, in every call alike.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torchvision.transforms.v2.functional as transform
from torch import Tensor
from torchvision.transforms import InterpolationMode

from pupil_training.data.images import batch_for
from pupil_training.evaluate import Counted, accuracy, interval

Change = Callable[[Tensor, float], Tensor]  # uint8 (N, C, H, W), strength -> the same


@dataclass(frozen=True)
class Shift:
    """One kind of change, at several strengths from weak to strong."""

    name: str
    strengths: tuple[float, ...]
    written: str  # a strength in words, as a format
    change: Change

    def wording(self, strength: float) -> str:
        return self.written.format(strength)

    def __call__(self, images: Tensor, strength: float) -> Tensor:
        """uint8 images (N, H, W, C) changed, their size kept."""
        batches = torch.split(images, batch_for(images) // 4 * 4)  # whole rounds of the four ways
        return torch.cat([self.change(batch.permute(0, 3, 1, 2), strength).permute(0, 2, 3, 1) for batch in batches])


@dataclass(frozen=True)
class Shifted:
    """How many images a model still gets right."""

    shift: str
    strength: float
    written: str  # the strength in words
    accuracy: Counted

    def facts(self) -> dict[str, Any]:
        """For machines."""
        counted = {"accuracy": self.accuracy._asdict(), "interval": interval(self.accuracy)}
        return {"shift": self.shift, "strength": self.strength, **counted}


def accuracies(model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> Iterator[Shifted]:
    """For each shift and strength; `model` gives logits (N, K) of uint8 images (N, H, W, C)."""
    for shift in SHIFTS:
        for strength in shift.strengths:
            right = accuracy(model(shift(images, strength)), labels)
            yield Shifted(shift.name, strength, shift.wording(strength), right)


def _brightness(images: Tensor, factor: float) -> Tensor:
    changed: Tensor = transform.adjust_brightness(images, factor)
    return changed


def _contrast(images: Tensor, factor: float) -> Tensor:
    changed: Tensor = transform.adjust_contrast(images, factor)
    return changed


def _rotate(images: Tensor, degrees: float) -> Tensor:
    return _each_way(images, [{"angle": degrees}, {"angle": -degrees}])


def _shear(images: Tensor, degrees: float) -> Tensor:
    return _each_way(images, [{"shear": [degrees, 0.0]}, {"shear": [-degrees, 0.0]}])


def _move(images: Tensor, percent: float) -> Tensor:
    down, right = (max(1, round(side * percent / 100)) for side in images.shape[2:])  # whole pixels, to blur nothing
    return _each_way(images, [{"translate": way} for way in ([right, 0], [0, down], [-right, 0], [0, -down])])


def _crop(images: Tensor, percent: float) -> Tensor:
    height, width = images.shape[2:]
    part = transform.center_crop(images, [max(1, round(side * percent / 100)) for side in (height, width)])
    enlarged: Tensor = transform.resize(part, [height, width], antialias=True)
    return enlarged


def _each_way(images: Tensor, ways: list[Mapping[str, object]]) -> Tensor:
    """Every image under one affine change, the ways taking turns."""
    changed = torch.empty_like(images)
    for turn, way in enumerate(ways[: len(images)]):
        changed[turn :: len(ways)] = _affine(images[turn :: len(ways)], way)
    return changed


def _affine(images: Tensor, way: Mapping[str, object]) -> Tensor:
    """What comes in from outside repeats the edge, as in training."""
    height, width = images.shape[2:]
    wide = transform.pad(images, [width // 2, height // 2], padding_mode="edge")
    still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    moved = transform.affine(wide, **{**still, **way}, interpolation=InterpolationMode.BILINEAR)
    middle: Tensor = transform.center_crop(moved, [height, width])
    return middle


SHIFTS = (
    Shift("darker", (0.7, 0.4, 0.2), "× {:g}", _brightness),
    Shift("brighter", (1.5, 2.0, 3.0), "× {:g}", _brightness),
    Shift("lower contrast", (0.6, 0.3, 0.15), "× {:g}", _contrast),
    Shift("higher contrast", (1.5, 2.5, 4.0), "× {:g}", _contrast),
    Shift("rotated", (10, 20, 30, 45), "{:g}°", _rotate),
    Shift("cropped", (90, 80, 65, 50), "to {:g} %", _crop),
    Shift("moved", (5, 10, 15, 20), "by {:g} %", _move),
    Shift("sheared", (10, 20, 30), "{:g}°", _shear),
)
