"""The model that is trained, saved, exported and served: a net together with what it must know."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from pupil_training.pixels import to_pixels

FEW = 5000  # images that a layer may look at


class InputSize(NamedTuple):
    """Of the pictures that a model takes."""

    height: int
    width: int
    channels: int


@runtime_checkable
class Fitted(Protocol):
    """A layer that looks at training pixels (N, C, H, W), normalised, before the first step."""

    def fit_to(self, pixels: Tensor) -> None: ...


class Classifier(nn.Module):
    """Pixels to logits, with the normalisation inside, so that nobody outside can get it wrong."""

    mean: Tensor  # (1, C, 1, 1)
    std: Tensor  # (1, C, 1, 1)
    shift: Tensor  # (K,), added to the net's outputs; moved by `distill.match_prior`
    temperature: Tensor  # (); calibrated scores are softmax(logits / temperature)

    def __init__(self, net: nn.Module, classes: tuple[str, ...], size: InputSize, *, mirror: bool = False) -> None:
        super().__init__()
        self.net = net
        self.mirror = mirror  # out of training, the outputs are the mean over a picture and its mirror image
        self.classes = classes
        self.input = size
        self.frozen: tuple[nn.Module, ...] = ()
        self.register_buffer("mean", torch.zeros(1, size.channels, 1, 1))
        self.register_buffer("std", torch.ones(1, size.channels, 1, 1))
        self.register_buffer("shift", torch.zeros(len(classes)))
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, K) of pixels (N, C, H, W) in [0, 1]."""
        x = (pixels - self.mean) / self.std
        logits: Tensor = self.net(x)
        if self.mirror and not self.training:
            logits = (logits + self.net(x.flip(3))) / 2
        return logits + self.shift

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but the layers of `frozen`, whose batch norms would else go on moving."""
        super().train(mode)
        for layer in self.frozen:
            layer.eval()
        return self

    def freeze(self, layers: Iterable[nn.Module]) -> None:
        """These layers learn nothing, until the next call names others."""
        self.requires_grad_(True)
        self.frozen = tuple(layers)
        for layer in self.frozen:
            layer.requires_grad_(False)
        self.train(self.training)

    def fit_to(self, images: Tensor) -> None:
        """Takes mean and standard deviation, a channel each, from uint8 images (N, H, W, C); so do layers that can."""
        for channel in range(self.input.channels):
            counts = torch.bincount(images[..., channel].flatten(), minlength=256).double()
            shades, pixels = torch.arange(256).double() / 255, counts.sum()
            mean = counts @ shades / pixels
            self.mean[0, channel] = mean
            self.std[0, channel] = (counts @ (shades - mean) ** 2 / (pixels - 1)).sqrt().clamp_min(1e-3)  # one colour
        count = min(FEW, len(images))
        spread = images[torch.arange(count) * len(images) // count]  # the first ones may all be of one class
        some = (to_pixels(spread) - self.mean) / self.std
        for layer in self.net.modules():
            if isinstance(layer, Fitted):
                layer.fit_to(some)
