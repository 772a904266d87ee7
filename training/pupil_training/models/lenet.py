"""LeNet-5 (LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition, 1998)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pupil_training.errors import RecipeError
from pupil_training.models.classifier import InputSize
from pupil_training.settings import ModelSettings

# Table I of the paper: the maps of S2 that each map of C3 sees.
C3_SEES = (
    *((i % 6, (i + 1) % 6, (i + 2) % 6) for i in range(6)),
    *((i % 6, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6) for i in range(6)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)


def lenet5(model: ModelSettings, size: InputSize, classes: int) -> nn.Module:
    """The form in use today: ReLU, max pooling, every map connected; 61,706 parameters for 1 channel, 10 classes."""
    return nn.Sequential(
        nn.Conv2d(size.channels, 6, 5, padding=_padding(size)),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Dropout(model.dropout),
        nn.Linear(84, classes),
    )


def lenet5_1998(model: ModelSettings, size: InputSize, classes: int) -> nn.Module:
    """As published: scaled tanh, trainable subsampling, C3 partly connected, distances to fixed codes as output.

    60,000 trainable parameters for 1 channel, as the paper counts them (section II.B).
    """
    return nn.Sequential(
        nn.Conv2d(size.channels, 6, 5, padding=_padding(size)),
        ScaledTanh(),
        Subsampling(6),
        ScaledTanh(),
        PartialConv2d(C3_SEES, 5),
        ScaledTanh(),
        Subsampling(16),
        ScaledTanh(),
        nn.Flatten(),
        nn.Linear(400, 120),
        ScaledTanh(),
        nn.Linear(120, 84),
        ScaledTanh(),
        CodeDistance(84, classes),
    )


def _padding(size: InputSize) -> int:
    if (size.height, size.width) not in {(28, 28), (32, 32)}:
        raise RecipeError(f"LeNet-5 takes 28×28 or 32×32 pixels, not {size.height}×{size.width}")
    return (32 - size.height) // 2


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x/3) (appendix A), which maps ±1 to ±1."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(x * (2 / 3))


class Subsampling(nn.Module):
    """The sum of each 2×2 field, times a coefficient, plus a bias; both trained, one pair a map."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.full((maps, 1, 1), 0.25))
        self.bias = nn.Parameter(torch.zeros(maps, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) * 4 * self.coefficient + self.bias


class PartialConv2d(nn.Module):
    """A convolution whose output maps each see only some of the input maps; it stores no other weights."""

    place: Tensor

    def __init__(self, sees: tuple[tuple[int, ...], ...], kernel: int) -> None:
        super().__init__()
        inputs = 1 + max(max(maps) for maps in sees)
        connected = torch.zeros(len(sees), inputs, dtype=torch.bool)
        for output, maps in enumerate(sees):
            connected[output, list(maps)] = True
        weights = int(connected.sum()) * kernel**2
        place = torch.full((len(sees), inputs, kernel, kernel), weights)  # the last place holds a zero
        place[connected] = torch.arange(weights).reshape(-1, kernel, kernel)
        self.register_buffer("place", place)
        fan_in = connected.sum(1).repeat_interleave(connected.sum(1) * kernel**2) * kernel**2
        self.weight = nn.Parameter((torch.rand(weights) * 2 - 1) / fan_in.sqrt())
        self.bias = nn.Parameter(torch.zeros(len(sees)))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, torch.cat([self.weight, self.weight.new_zeros(1)])[self.place], self.bias)


class CodeDistance(nn.Module):
    """Minus the squared distance to a fixed code of ±1 for each class, drawn at random as section II.B allows."""

    codes: Tensor  # (K, features)

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.randint(0, 2, (classes, features)) * 2.0 - 1.0)

    def forward(self, x: Tensor) -> Tensor:
        # |x - code|² = |x|² - 2 x·code + features; in this form it is one matrix product
        return 2 * x @ self.codes.T - (x * x).sum(1, keepdim=True) - self.codes.shape[1]
