"""A net in the style of VGG (Simonyan, Zisserman 2015) that fits itself to 28 to 224 pixels."""

import math
from itertools import pairwise

from torch import nn

from pupil_training.errors import RecipeError
from pupil_training.models.classifier import InputSize
from pupil_training.settings import ModelSettings


def vgg(model: ModelSettings, size: InputSize, classes: int) -> nn.Module:
    """Blocks of 3×3 convolutions with batch norm, each block halving the map, then one hidden layer.

    `model.widths` gives each block's channels, `model.convolutions` how many convolutions a block has.
    """
    shorter = min(size.height, size.width)
    widths = model.widths or default_widths(shorter)
    if shorter >> len(widths) < 1:
        raise RecipeError(f"{len(widths)} blocks halve {size.height}×{size.width} pixels to nothing; drop some widths")
    layers: list[nn.Module] = []
    for before, width in pairwise((size.channels, *widths)):
        layers += _block(before, width, model.convolutions)
    features = widths[-1] * (size.height >> len(widths)) * (size.width >> len(widths))
    hidden = 2 * widths[-1]
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Dropout(model.dropout),
        nn.Linear(features, hidden),
        nn.ReLU(),
        nn.Dropout(model.dropout),
        nn.Linear(hidden, classes),
    )


def default_widths(side: int) -> tuple[int, ...]:
    """As many blocks as leave a map of 3 to 7 pixels, at most VGG's five; the channels double up to VGG's 512."""
    blocks = max(1, min(5, int(math.log2(side / 3.5)))) if side >= 7 else 1
    first = 32 if side < 64 else 64
    return tuple(min(512, first << block) for block in range(blocks))


def _block(before: int, width: int, convolutions: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for channels in (before, *[width] * (convolutions - 1)):
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return [*layers, nn.MaxPool2d(2)]
