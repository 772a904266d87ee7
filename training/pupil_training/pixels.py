"""Pictures as the nets take them."""

import torch
from torch import Tensor


def to_pixels(images: Tensor) -> Tensor:
    """Float pixels (N, C, H, W) in [0, 1], channels last in memory, from uint8 images (N, H, W, C)."""
    return images.permute(0, 3, 1, 2).float() / 255


def to_images(pixels: Tensor) -> Tensor:
    """The nearest uint8 images (N, H, W, C) to pixels (N, C, H, W) in [0, 1]."""
    return (pixels * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
