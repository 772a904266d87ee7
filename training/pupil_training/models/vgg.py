"""VGG (Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, 2015).

The published nets by name, and `vgg`, a net in their style that fits itself to 28 to 224 pixels.
"""

import math
from collections import OrderedDict
from itertools import pairwise

from torch import nn

from pupil_training.errors import RecipeError
from pupil_training.models.classifier import InputSize
from pupil_training.settings import ModelSettings

PUBLISHED = {  # table 1, columns A, B, D and E: convolutions in each block
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
NAMES = [f"{name}{norm}" for name in PUBLISHED for norm in ("", "-bn")]
WIDTHS = (64, 128, 256, 512, 512)


def published_vgg(model: ModelSettings, size: InputSize, classes: int) -> nn.Module:
    """`vgg16` and its like at 224 pixels: 138,357,544 parameters for 3 channels, 1000 classes.

    From 32 to 223 pixels the two hidden layers of 4096 units become one of 512, as on CIFAR-10 (Liu, Deng 2015).
    The tensors have torchvision's names, so its files of weights fit. The paper's dropout is `model.dropout` = 0.5.
    """
    if min(size.height, size.width) < 32:
        raise RecipeError(
            f"{model.name} halves its pictures five times: 32×32 pixels at least, not {size.height}×{size.width}; "
            "model.name = 'vgg' fits itself to fewer"
        )
    name, _, norm = model.name.partition("-")
    features: list[nn.Module] = []
    for (before, width), convolutions in zip(pairwise((size.channels, *WIDTHS)), PUBLISHED[name], strict=True):
        features += _block(before, width, convolutions, norm=bool(norm), bias=True)
    hidden = [4096, 4096] if min(size.height, size.width) >= 224 else [512]
    units = (512 * (size.height // 32) * (size.width // 32), *hidden)
    classifier: list[nn.Module] = []
    for before, width in pairwise(units):
        classifier += [nn.Linear(before, width), nn.ReLU(), nn.Dropout(model.dropout)]
    classifier.append(nn.Linear(units[-1], classes))
    parts = {"features": nn.Sequential(*features), "flat": nn.Flatten(), "classifier": nn.Sequential(*classifier)}
    return nn.Sequential(OrderedDict(parts)).apply(_first_weights)


def _first_weights(layer: nn.Module) -> None:
    """He et al. 2015: without it, and without batch norm, sixteen layers would hand nothing through."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, 0, 0.01)
    if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
        nn.init.zeros_(layer.bias)


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
        layers += _block(before, width, model.convolutions, norm=True, bias=False)
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


def _block(before: int, width: int, convolutions: int, *, norm: bool, bias: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for channels in (before, *[width] * (convolutions - 1)):
        layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=bias))
        if norm:
            layers.append(nn.BatchNorm2d(width))
        layers.append(nn.ReLU())
    return [*layers, nn.MaxPool2d(2)]
