"""A sheet of pictures: what a recipe's augmentation makes of some images."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from pupil_training.augment import Views
from pupil_training.data.feed import Batch
from pupil_training.data.folders import images_below
from pupil_training.data.pictures import FilePicture
from pupil_training.data.reading import pixels_of
from pupil_training.errors import DataError
from pupil_training.pixels import to_pixels
from pupil_training.preprocess import Preprocess
from pupil_training.recipe import Recipe
from pupil_training.settings import AugmentSettings

SIDE = 96  # pixels of the sheet that a picture takes at least
GAP, LINE = 6, 14  # between pictures, and for a line of text
LETTER = 6  # about as wide as a letter of Pillow's default font


class Block(NamedTuple):
    """Views under one policy."""

    title: str
    views: list[Tensor]  # column by column, pixels (N, C, H, W)


def preview(recipe: Recipe, paths: Sequence[Path], epochs: int) -> Image.Image:
    """A row an image: plain, then its view in each epoch; below them strong views, where `pool.strong` has any.

    Raises DataError: an unreadable image, or an odd number of them where pairs are mixed.
    """
    policies = {"augment": (recipe.augment, "augment")}
    if recipe.pool.strong.active:
        policies["pool.strong"] = (recipe.pool.strong, "strong")
    if len(paths) % 2 and any(how.mixes for how, _ in policies.values()):
        raise DataError(f"mixup and cutmix mix pairs of images: give an even number of them, not {len(paths)}")
    images = _read(recipe, paths)
    blocks = []
    for name, (how, stream) in policies.items():
        views = Views(how, recipe.seed, stream)
        columns = [views(_batch(images, epoch)) for epoch in range(epochs)]
        blocks.append(Block(f"{name}: {_described(how)}", [to_pixels(images), *columns]))
    return _sheet(blocks, [str(path) for path in paths])


def find_images(places: Sequence[Path], first: int) -> list[Path]:
    """The image files among `places`, and the first few of each folder. Raises DataError where there is none."""
    found: list[Path] = []
    for place in places:
        if not place.exists():
            raise DataError(f"{place}: no such image or folder")
        found += map(Path, images_below(place)[:first]) if place.is_dir() else [place]
    if not found:
        raise DataError("no image to show; name some, or a folder")
    return found


def _read(recipe: Recipe, paths: Sequence[Path]) -> Tensor:
    """uint8 (N, H, W, C), as the net gets them."""
    pictures = [FilePicture(str(path)) for path in paths]
    return torch.from_numpy(pixels_of(pictures, Preprocess.of(recipe.data)))


def _batch(images: Tensor, epoch: int) -> Batch:
    """The images as the first ones of a set."""
    return Batch(1, 0, images, None, torch.arange(len(images)), torch.full((len(images),), epoch))


def _described(how: AugmentSettings) -> str:
    settings = how.model_dump(exclude_defaults=True)
    return ", ".join(f"{name} {value}" for name, value in settings.items()) or "off"


def _sheet(blocks: Sequence[Block], names: Sequence[str]) -> Image.Image:
    """The blocks below each other, in strips of text and of pictures."""
    height, width = blocks[0].views[0].shape[2:]
    scale = -(-SIDE // max(height, width))  # rounded up
    lefts = [GAP + column * (width * scale + GAP) for column in range(len(blocks[0].views) + 1)]
    across = lefts.pop()
    letters = across // LETTER
    heads = ["plain", *(f"epoch {epoch}" for epoch in range(len(lefts) - 1))]
    strips = []
    for block in blocks:
        strips += [_line(across, [GAP], [line], "black") for line in textwrap.wrap(block.title, letters)]
        strips.append(_line(across, lefts, heads, "grey"))
        for row, name in enumerate(names):
            strips.append(_line(across, [GAP], [name if len(name) <= letters else f"…{name[1 - letters :]}"], "grey"))
            strips.append(_pictures(across, lefts, [views[row] for views in block.views], scale))
    return _stacked(strips)


def _line(across: int, lefts: Sequence[int], words: Sequence[str], colour: str) -> Image.Image:
    strip = Image.new("RGB", (across, LINE), "white")
    draw = ImageDraw.Draw(strip)
    for left, word in zip(lefts, words, strict=True):
        draw.text((left, 0), word, colour)
    return strip


def _pictures(across: int, lefts: Sequence[int], pictures: Sequence[Tensor], scale: int) -> Image.Image:
    """Pixels (C, H, W), each so many times as large, every pixel a square."""
    height, width = (side * scale for side in pictures[0].shape[1:])
    strip = Image.new("RGB", (across, height + GAP), "white")
    for left, picture in zip(lefts, pictures, strict=True):
        colours = (picture * 255).round().byte().expand(3, -1, -1).permute(1, 2, 0).numpy()
        strip.paste(Image.fromarray(colours).resize((width, height), Image.Resampling.NEAREST), (left, 0))
    return strip


def _stacked(strips: Sequence[Image.Image]) -> Image.Image:
    whole = Image.new("RGB", (strips[0].width, sum(strip.height for strip in strips)), "white")
    top = 0
    for strip in strips:
        whole.paste(strip, (0, top))
        top += strip.height
    return whole
