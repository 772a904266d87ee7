"""The model that is trained, saved, exported and served: a net together with what it must know."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class InputSize(NamedTuple):
    """Of the pictures that a model takes."""

    height: int
    width: int
    channels: int


class Classifier(nn.Module):
    """Pixels to logits, with the normalisation inside, so that nobody outside can get it wrong."""

    mean: Tensor  # (1, C, 1, 1)
    std: Tensor  # (1, C, 1, 1)
    temperature: Tensor  # (); calibrated scores are softmax(logits / temperature)

    def __init__(self, net: nn.Module, classes: tuple[str, ...], size: InputSize) -> None:
        super().__init__()
        self.net = net
        self.classes = classes
        self.input = size
        self.register_buffer("mean", torch.zeros(1, size.channels, 1, 1))
        self.register_buffer("std", torch.ones(1, size.channels, 1, 1))
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, K) of pixels (N, C, H, W) in [0, 1]."""
        logits: Tensor = self.net((pixels - self.mean) / self.std)
        return logits

    def normalise_by(self, images: Tensor) -> None:
        """Takes mean and standard deviation, a channel each, from uint8 images (N, H, W, C)."""
        for channel in range(self.input.channels):
            values = images[..., channel].double() / 255
            self.mean[0, channel] = values.mean()
            self.std[0, channel] = values.std().clamp_min(1e-3)  # a set of one colour
