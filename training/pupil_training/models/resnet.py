"""Residual nets for small pictures: He et al. 2016 on CIFAR, and their wide form (Zagoruyko, Komodakis 2016)."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from pupil_training.errors import RecipeError
from pupil_training.models.classifier import InputSize
from pupil_training.models.drop_path import DropPath, rising
from pupil_training.settings import ModelSettings

NAMES = [f"resnet{depth}" for depth in (20, 32, 44, 56, 110)]
WIDE = "wrn-"
Block = Callable[[int, int, int, float], nn.Module]  # maps before, maps, stride, share that is dropped


def resnet(model: ModelSettings, size: InputSize, classes: int) -> nn.Module:
    """Deep Residual Learning, section 4.2: three groups of 16, 32, 64 maps; resnet20 has 269,722 parameters."""
    depth = int(model.name.removeprefix("resnet"))
    blocks = [*_blocks(Basic, [16, 16, 32, 64], (depth - 2) // 6, model.drop_path)]
    net = nn.Sequential(_convolution(size.channels, 16), nn.BatchNorm2d(16), nn.ReLU(), *blocks, *_end(64, classes))
    return net.apply(_first_weights)


def wide_resnet(model: ModelSettings, size: InputSize, classes: int) -> nn.Module:
    """wrn-DEPTH-WIDTH: WIDTH times as many maps, norm and ReLU first; wrn-28-10 has 36,479,194 parameters.

    `model.dropout` is the paper's, between the two convolutions of a block (section 2.4).
    """
    found = re.fullmatch(r"wrn-(\d+)-(\d+)", model.name)
    depth, width = map(int, found.groups()) if found else (0, 0)
    if depth < 10 or depth % 6 != 4 or width < 1:
        raise RecipeError(f"{model.name}: a wide net's depth is 6n + 4, for example wrn-16-2, wrn-40-2 or wrn-28-10")
    maps = [16, *(width * maps for maps in (16, 32, 64))]
    blocks = [*_blocks(partial(Wide, model.dropout), maps, (depth - 4) // 6, model.drop_path)]
    end = [nn.BatchNorm2d(maps[-1]), nn.ReLU(), *_end(maps[-1], classes)]
    return nn.Sequential(_convolution(size.channels, 16), *blocks, *end).apply(_first_weights)


class Basic(nn.Module):
    """Two convolutions beside a shortcut without parameters: steps of two, missing maps zero (option A)."""

    def __init__(self, before: int, maps: int, stride: int, drop: float) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            _convolution(before, maps, stride),
            nn.BatchNorm2d(maps),
            nn.ReLU(),
            _convolution(maps, maps),
            nn.BatchNorm2d(maps),
        )
        self.drop = DropPath(drop)
        self._stride = stride
        self._missing = maps - before

    def forward(self, x: Tensor) -> Tensor:
        branch = self.drop(self.branch(x))
        shortcut = F.avg_pool2d(x, 1, self._stride) if self._stride > 1 else x  # of one pixel: every second one
        return F.relu(branch + F.pad(shortcut, (0, 0, 0, 0, 0, self._missing)))


class Wide(nn.Module):
    """Norm and ReLU before each of two convolutions; a 1×1 convolution as shortcut where the maps change."""

    def __init__(self, dropout: float, before: int, maps: int, stride: int, drop: float) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU())
        self.branch = nn.Sequential(
            _convolution(before, maps, stride),
            nn.BatchNorm2d(maps),
            nn.ReLU(),
            nn.Dropout(dropout),
            _convolution(maps, maps),
        )
        self.shortcut = None if before == maps else nn.Conv2d(before, maps, 1, stride, bias=False)
        self.drop = DropPath(drop)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.first(x)
        shortcut = x if self.shortcut is None else self.shortcut(seen)
        branch: Tensor = self.drop(self.branch(seen))
        return shortcut + branch


def _blocks(block: Block, maps: Sequence[int], each: int, drop_path: float) -> Iterator[nn.Module]:
    """`each` blocks for every step of `maps`; all groups but the first begin by halving the picture."""
    shares = iter(rising(drop_path, each * (len(maps) - 1)))
    for group, (before, after) in enumerate(pairwise(maps)):
        for place in range(each):
            first = place == 0
            yield block(before if first else after, after, 2 if first and group > 0 else 1, next(shares))


def _convolution(before: int, maps: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, maps, 3, stride, padding=1, bias=False)


def _end(maps: int, classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(maps, classes)]


def _first_weights(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
