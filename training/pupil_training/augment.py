"""Random views of a batch, drawn from an explicit generator: one seed, one view, for teacher and student alike."""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from pupil_training.recipe import AugmentSettings


def to_pixels(images: Tensor) -> Tensor:
    """Float pixels (N, C, H, W) in [0, 1], channels last in memory, from uint8 images (N, H, W, C)."""
    return images.permute(0, 3, 1, 2).float() / 255


def augment(pixels: Tensor, settings: AugmentSettings, generator: Generator) -> Tensor:
    """A random view of every picture: pixels (N, C, H, W) in [0, 1] in and out.

    The generator lives on the CPU, so that a seed gives the same view on every device.
    """
    if settings.rotate or settings.scale or settings.shear:
        pixels = warp(pixels, _matrices(len(pixels), settings, generator))
    if settings.shift:
        offsets = torch.randint(-settings.shift, settings.shift + 1, (2, len(pixels)), generator=generator)
        pixels = shift(pixels, offsets[0], offsets[1])
    if settings.flip:
        flipped = torch.rand(len(pixels), generator=generator).to(pixels.device) < 0.5
        pixels = torch.where(flipped[:, None, None, None], pixels.flip(3), pixels)
    if settings.contrast:
        factor = 1 + _between(len(pixels), settings.contrast, generator).to(pixels)
        mean = pixels.mean((1, 2, 3), keepdim=True)
        pixels = (mean + (pixels - mean) * factor[:, None, None, None]).clamp(0, 1)
    if settings.brightness:
        factor = 1 + _between(len(pixels), settings.brightness, generator).to(pixels)
        pixels = (pixels * factor[:, None, None, None]).clamp(0, 1)
    return pixels


def shift(pixels: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Each picture moved by whole pixels; what comes in from outside repeats the edge."""
    count, _, height, width = pixels.shape
    rows = (torch.arange(height) - down[:, None]).clamp(0, height - 1).to(pixels.device)  # (N, H)
    columns = (torch.arange(width) - right[:, None]).clamp(0, width - 1).to(pixels.device)  # (N, W)
    picture = torch.arange(count, device=pixels.device)
    moved = pixels.permute(0, 2, 3, 1)[picture[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def warp(pixels: Tensor, matrices: Tensor) -> Tensor:
    """Each picture under its affine matrix (2, 3), which maps output to input as `F.affine_grid` has it."""
    grid = F.affine_grid(matrices.to(pixels), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _matrices(count: int, settings: AugmentSettings, generator: Generator) -> Tensor:
    angle = _between(count, math.radians(settings.rotate), generator)
    shear = _between(count, math.radians(settings.shear), generator).tan()
    zoom = 1 + _between(count, settings.scale, generator)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(count)
    top = torch.stack([cos / zoom, (cos * shear - sin) / zoom, zero], 1)
    bottom = torch.stack([sin / zoom, (sin * shear + cos) / zoom, zero], 1)
    return torch.stack([top, bottom], 1)  # (N, 2, 3): rotation · shear, over zoom


def _between(count: int, reach: float, generator: Generator) -> Tensor:
    return (torch.rand(count, generator=generator) * 2 - 1) * reach
