"""Pictures as the nets take them."""

from torch import Tensor


def to_pixels(images: Tensor) -> Tensor:
    """Float pixels (N, C, H, W) in [0, 1], channels last in memory, from uint8 images (N, H, W, C)."""
    return images.permute(0, 3, 1, 2).float() / 255
