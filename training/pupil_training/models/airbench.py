"""A shallow, wide net that learns small colour pictures fast (Jordan 2024, 94% on CIFAR-10 in 3.29 seconds)."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pupil_training.errors import RecipeError
from pupil_training.models.classifier import InputSize
from pupil_training.settings import ModelSettings

PATCH = 2  # pixels, the side of what is whitened


def airbench(model: ModelSettings, size: InputSize, classes: int) -> nn.Module:
    """Whitened patches, then a block for each of `model.widths` that halves the map: 1,971,352 parameters by default.

    Takes 16×16 pixels and more; the map that is left is reduced to its maximum. Meant for `optim.bias_rate = 64`.
    """
    widths = model.widths or (64, 256, 256)
    if min(size.height, size.width) >> len(widths) < 2:
        raise RecipeError(f"{len(widths)} blocks halve {size.height}×{size.width} pixels to nothing; drop some widths")
    whitened = 2 * size.channels * PATCH**2
    blocks = [layer for before, width in pairwise((whitened, *widths)) for layer in _block(before, width)]
    return nn.Sequential(
        Whitening(size.channels),
        nn.GELU(),
        *blocks,
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Dropout(model.dropout),
        Divide(9),  # or the first steps, large for a net that hands its input through, would throw it far off
        nn.Linear(widths[-1], classes, bias=False),
    )


def _block(before: int, width: int) -> list[nn.Module]:
    return [
        _convolution(before, width),
        nn.MaxPool2d(2),
        Norm(width),
        nn.GELU(),
        _convolution(width, width),
        Norm(width),
        nn.GELU(),
    ]


def _convolution(before: int, width: int) -> nn.Conv2d:
    """A 3×3 convolution that begins by handing its input through, as far as it has the channels (section 3.3)."""
    layer = nn.Conv2d(before, width, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight[: min(before, width)])
    return layer


class Norm(nn.BatchNorm2d):
    """Batch norm that learns its bias alone (section 3.4), whose statistics follow within few steps."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, momentum=0.4)
        del self.weight
        self.register_buffer("weight", torch.ones(channels))


class Divide(nn.Module):
    """Every number by `divisor`."""

    def __init__(self, divisor: float) -> None:
        super().__init__()
        self.divisor = divisor

    def forward(self, x: Tensor) -> Tensor:
        return x / self.divisor


class Whitening(nn.Module):
    """Patches in the directions of their principal components, each scaled to variance 1, with both signs.

    The directions are fixed (section 3.2); only the bias learns.
    """

    directions: Tensor  # (2·C·P², C, P, P)

    def __init__(self, channels: int) -> None:
        super().__init__()
        patch = channels * PATCH**2
        self.register_buffer("directions", torch.eye(patch).reshape(patch, channels, PATCH, PATCH).repeat(2, 1, 1, 1))
        self.bias = nn.Parameter(torch.zeros(2 * patch))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.directions, self.bias)

    @torch.no_grad()
    def fit_to(self, pixels: Tensor) -> None:
        """Takes the directions from normalised training pixels (N, C, H, W)."""
        products, count = torch.zeros((), dtype=torch.float64, device=pixels.device), 0
        for some in torch.split(pixels, 500):  # of 5,000 at once the patches would take half a gigabyte
            patches = F.unfold(some, PATCH).transpose(1, 2).flatten(0, 1).double()  # (patches, C·P²)
            products, count = products + patches.T @ patches, count + len(patches)
        values, vectors = torch.linalg.eigh(products / count)
        scaled = (vectors / (values + 5e-4).sqrt()).T.reshape(self.directions[: len(values)].shape)
        self.directions.copy_(torch.cat([scaled, -scaled]))
