"""RandAugment (Cubuk et al. 2020) and TrivialAugment (Müller, Hutter 2021), each picture with operations of its own.

The operations, their strengths and signs are torchvision's; what comes in from outside repeats the edge or reflects,
instead of being black. Grey pictures do without `color`, which would do nothing to them.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pupil_training.augment import tones
from pupil_training.augment.chance import Chance
from pupil_training.augment.maps import affine, moved, turned, warp
from pupil_training.settings import STRONGEST, AugmentSettings, Padding

Change = Callable[[Tensor, Tensor], Tensor]  # of pixels (n, C, H, W), at strengths (n,)


class Operation(NamedTuple):
    """What can be drawn, and how strong it may be."""

    change: Change
    most: float = 0.0  # the strength at full magnitude; it grows from 0 along a line
    signed: bool = False  # half of the pictures get it the other way

    def applied(self, pixels: Tensor, magnitude: Tensor, backwards: Tensor) -> Tensor:
        """At magnitudes 0 … 30 (n,)."""
        strength = self.most * magnitude.double() / STRONGEST
        return self.change(pixels, strength * (1 - 2 * backwards.double()) if self.signed else strength)


def several(pixels: Tensor, how: AugmentSettings, chance: Chance) -> Tensor:
    """RandAugment: `randaugment` operations after each other, at one magnitude or at random ones."""
    space = list(operations(pixels, how.padding, wide=False).values())
    for turn in range(how.randaugment):
        if how.magnitude == "random":
            magnitude = chance.whole(f"magnitude {turn}", STRONGEST + 1)
        else:
            magnitude = torch.full((len(pixels),), how.magnitude)
        pixels = _one(pixels, space, magnitude, chance, f"{turn}")
    return pixels


def trivial(pixels: Tensor, how: AugmentSettings, chance: Chance) -> Tensor:
    """TrivialAugment, wide: one operation at a random magnitude."""
    space = list(operations(pixels, how.padding, wide=True).values())
    return _one(pixels, space, chance.whole("magnitude", STRONGEST + 1), chance, "trivial")


def operations(pixels: Tensor, padding: Padding, *, wide: bool) -> dict[str, Operation]:
    """What can be drawn for such pixels, by the papers' names; `wide` as TrivialAugment has it."""
    channels, height, width = pixels.shape[1:]
    shear, degrees, blend, bits = (0.99, 135.0, 0.99, 6.0) if wide else (0.3, 30.0, 0.9, 4.0)
    right, down = (32.0, 32.0) if wide else (width * 150 / 331, height * 150 / 331)

    def through(maps: Callable[[Tensor], Tensor]) -> Change:
        return lambda pixels, strength: warp(pixels, maps(strength), padding)

    def blended(change: Change) -> Operation:
        return Operation(lambda pixels, strength: change(pixels, 1 + strength), blend, signed=True)

    space = {
        "identity": Operation(lambda pixels, _: pixels),
        "shear_x": Operation(through(lambda by: affine(1, by, by * height / 2, 0, 1, 0)), shear, signed=True),
        "shear_y": Operation(through(lambda by: affine(1, 0, 0, by, 1, by * width / 2)), shear, signed=True),
        "translate_x": Operation(through(lambda by: moved(by.trunc(), 0)), right, signed=True),
        "translate_y": Operation(through(lambda by: moved(0, by.trunc())), down, signed=True),
        "rotate": Operation(through(turned), degrees, signed=True),
        "brightness": blended(tones.brightened),
        "color": blended(tones.saturated),
        "contrast": blended(tones.contrasted),
        "sharpness": blended(tones.sharpened),
        "posterize": Operation(lambda pixels, fewer: tones.posterized(pixels, 8 - fewer.round()), bits),
        "solarize": Operation(lambda pixels, lower: tones.solarized(pixels, 1 - lower), 1.0),
        "autocontrast": Operation(lambda pixels, _: tones.autocontrasted(pixels)),
        "equalize": Operation(lambda pixels, _: tones.equalized(pixels)),
    }
    if channels == 1:
        del space["color"]
    return space


def _one(pixels: Tensor, space: list[Operation], magnitude: Tensor, chance: Chance, turn: str) -> Tensor:
    """One operation for each picture; those that drew the same one go through it together."""
    drawn = chance.whole(f"operation {turn}", len(space))
    backwards = chance.uniform(f"sign {turn}") < 0.5
    order = drawn.argsort(stable=True)
    counts = drawn.bincount(minlength=len(space)).tolist()
    grouped = [_taken(values, order, counts) for values in (pixels.contiguous(), magnitude, backwards)]
    changed = [operation.applied(*group) for operation, *group in zip(space, *grouped, strict=True) if len(group[0])]
    return torch.cat(changed).index_select(0, order.argsort().to(pixels.device))


def _taken(values: Tensor, order: Tensor, counts: list[int]) -> tuple[Tensor, ...]:
    """In this order (N,), in groups of so many."""
    return torch.split(values.index_select(0, order.to(values.device)), counts)
