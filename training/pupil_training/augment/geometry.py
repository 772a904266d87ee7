"""Where the pixels go: one warp for all that moves, a cheaper way where only whole pixels do, and cutout."""

from functools import reduce

import torch
from torch import Tensor

from pupil_training.augment.chance import Chance
from pupil_training.augment.maps import affine, between_corners, mirrored, moved, sheared, turned, warp, zoomed
from pupil_training.settings import AugmentSettings, Padding


def move(pixels: Tensor, how: AugmentSettings, chance: Chance) -> Tensor:
    """Each picture of pixels (N, C, H, W) cropped, seen in perspective, turned, sheared, zoomed, shifted, mirrored.

    In this order, but in one step: what lies outside a crop is there if a shift looks for it.
    """
    height, width = pixels.shape[2:]
    if how.crop or how.perspective or how.rotate or how.shear or how.scale:
        return warp(pixels, reduce(torch.matmul, drawn_maps(how, chance, height, width)), how.padding)
    if how.shift or how.flip:
        return shifted(pixels, *_shift(how, chance), _flips(how, chance), how.padding)
    return pixels


def shifted(pixels: Tensor, right: Tensor, down: Tensor, flipped: Tensor, padding: Padding = "edge") -> Tensor:
    """Each picture moved by whole pixels (N,), then mirrored where `flipped` (N,)."""
    count, channels, height, width = pixels.shape
    rows = _inside(torch.arange(height) - down[:, None], height, padding)  # (N, H)
    columns = _inside(torch.arange(width) - right[:, None], width, padding)  # (N, W)
    columns = torch.where(flipped[:, None], columns.flip(1), columns).to(pixels.device)
    first_places = ((torch.arange(count)[:, None] * height + rows) * width).to(pixels.device)
    places = first_places[:, :, None] + columns[:, None, :]  # (N, H, W), in the row of all pixels of all pictures
    moved = pixels.permute(0, 2, 3, 1).reshape(-1, channels).index_select(0, places.flatten())
    return moved.reshape(count, height, width, channels).permute(0, 3, 1, 2)


def cut_out(pixels: Tensor, side: int, chance: Chance) -> Tensor:
    """Each picture with a grey square somewhere, part of which may lie outside (DeVries, Taylor 2017)."""
    height, width = pixels.shape[2:]
    top, left = (chance.whole(f"cutout {way}", size) - side // 2 for way, size in (("top", height), ("left", width)))
    rows, columns = torch.arange(height), torch.arange(width)
    in_rows = (rows >= top[:, None]) & (rows < top[:, None] + side)  # (N, H)
    in_columns = (columns >= left[:, None]) & (columns < left[:, None] + side)  # (N, W)
    hidden = (in_rows[:, None, :, None] & in_columns[:, None, None, :]).to(pixels.device)
    return pixels.masked_fill(hidden, 0.5)


def drawn_maps(how: AugmentSettings, chance: Chance, height: int, width: int) -> list[Tensor]:
    """The maps (N, 3, 3) of all that is on, the first change first."""
    maps = []
    if how.crop:
        maps.append(_crop(how, chance, height, width))
    if how.perspective:
        maps.append(_perspective(how, chance, height, width))
    if how.rotate:
        maps.append(turned(chance.between("rotate", how.rotate)))
    if how.shear:
        maps.append(sheared(chance.between("shear", how.shear).deg2rad().tan()))
    if how.scale:
        maps.append(zoomed(1 + chance.between("scale", how.scale)))
    if how.shift:
        maps.append(moved(*_shift(how, chance)))
    if how.flip:
        maps.append(mirrored(_flips(how, chance)))
    return maps


def _crop(how: AugmentSettings, chance: Chance, height: int, width: int) -> Tensor:
    """A part of the picture, brought to its size (Szegedy et al. 2015, section 6).

    The aspect is drawn from what fits into the picture at the area drawn, so no draw has to be made again.
    """
    area = 1 - chance.uniform("crop area").double() * (1 - how.crop)  # the picture's is 1
    widest = area.reciprocal().clamp(max=how.aspect)
    aspect = widest ** chance.between("crop aspect", 1.0)  # the logarithm is uniform
    wide, high = (area * aspect).sqrt(), (area / aspect).sqrt()
    right = chance.between("crop right", width / 2) * (1 - wide)
    down = chance.between("crop down", height / 2) * (1 - high)
    return affine(wide, 0, right, 0, high, down)


def _perspective(how: AugmentSettings, chance: Chance, height: int, width: int) -> Tensor:
    """Each corner is drawn inwards, at most by this share of the way to the middle."""
    corners = torch.tensor([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2
    inwards = [chance.uniform(f"perspective {number}") for number in range(8)]
    seen = corners * (1 - how.perspective * torch.stack(inwards, 1).reshape(-1, 4, 2))
    return between_corners(seen, corners.expand_as(seen))


def _shift(how: AugmentSettings, chance: Chance) -> tuple[Tensor, Tensor]:
    """Whole pixels (N,) to the right and down."""
    right, down = (chance.whole(f"shift {way}", 2 * how.shift + 1) - how.shift for way in ("right", "down"))
    return right, down


def _flips(how: AugmentSettings, chance: Chance) -> Tensor:
    """Which pictures are mirrored; alternating, each is mirrored in every other epoch (Jordan 2024, section 3.6)."""
    if how.flip == "alternate":
        return (chance.once("flip") < 0.5) ^ (chance.epochs % 2 == 1)
    return (chance.uniform("flip") < 0.5) & bool(how.flip)


def _inside(places: Tensor, size: int, padding: Padding) -> Tensor:
    """Places 0 … size - 1; those outside repeat the edge, or go back from it."""
    if padding == "edge":
        return places.clamp(0, size - 1)
    period = max(2 * size - 2, 1)
    places = places % period
    return torch.minimum(places, period - places)
