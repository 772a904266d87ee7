"""Where the pixels go: shift, flip, rotation, scale, shear, cutout."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pupil_training.augment.chance import Chance
from pupil_training.settings import AugmentSettings


def move(pixels: Tensor, settings: AugmentSettings, chance: Chance) -> Tensor:
    """Each picture of pixels (N, C, H, W) moved on its own."""
    if settings.rotate or settings.scale or settings.shear:
        pixels = warp(pixels, _matrices(settings, chance))
    if settings.shift:
        down, right = (
            chance.whole(f"shift {way}", 2 * settings.shift + 1) - settings.shift for way in ("down", "right")
        )
        pixels = shift(pixels, down, right)
    if settings.flip:
        flipped = _flips(settings, chance).to(pixels.device)
        pixels = torch.where(flipped[:, None, None, None], pixels.flip(3), pixels)
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


def cut_out(pixels: Tensor, side: int, chance: Chance) -> Tensor:
    """Each picture with a grey square somewhere, part of which may lie outside (DeVries, Taylor 2017)."""
    height, width = pixels.shape[2:]
    top, left = (chance.whole(f"cutout {way}", size) - side // 2 for way, size in (("top", height), ("left", width)))
    rows, columns = torch.arange(height), torch.arange(width)
    in_rows = (rows >= top[:, None]) & (rows < top[:, None] + side)  # (N, H)
    in_columns = (columns >= left[:, None]) & (columns < left[:, None] + side)  # (N, W)
    hidden = (in_rows[:, None, :, None] & in_columns[:, None, None, :]).to(pixels.device)
    return pixels.masked_fill(hidden, 0.5)


def _flips(settings: AugmentSettings, chance: Chance) -> Tensor:
    """Which pictures are mirrored; alternating, each is mirrored in every other epoch (Jordan 2024, section 3.6)."""
    if settings.flip == "alternate":
        return (chance.once("flip") < 0.5) ^ (chance.epochs % 2 == 1)
    return chance.uniform("flip") < 0.5


def _matrices(settings: AugmentSettings, chance: Chance) -> Tensor:
    angle = chance.between("rotate", math.radians(settings.rotate))
    shear = chance.between("shear", math.radians(settings.shear)).tan()
    zoom = 1 + chance.between("scale", settings.scale)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(len(angle))
    top = torch.stack([cos / zoom, (cos * shear - sin) / zoom, zero], 1)
    bottom = torch.stack([sin / zoom, (sin * shear + cos) / zoom, zero], 1)
    return torch.stack([top, bottom], 1)  # (N, 2, 3): rotation · shear, over zoom
