"""What can be done to the values of pixels (N, C, H, W) in [0, 1], by a number for each picture (N,).

Sums and products of whole tensors: a matrix product or a sum over a whole batch may end in other bits when a picture
comes in another batch, and `torch.where` takes several times as long.
"""

import math
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601), to torchvision's places


def brightened(pixels: Tensor, factor: Tensor) -> Tensor:
    """0 is black, 1 the picture."""
    return (pixels * _each(factor, pixels)).clamp_(0, 1)


def contrasted(pixels: Tensor, factor: Tensor) -> Tensor:
    """0 is the picture's mean grey, 1 the picture."""
    mean = grey(pixels).mean(3, keepdim=True).mean(2, keepdim=True)  # of rows first: see above
    return _between(mean, pixels, factor)


def saturated(pixels: Tensor, factor: Tensor) -> Tensor:
    """0 is the grey picture, 1 the picture. Grey pictures stay as they are."""
    return _between(grey(pixels), pixels, factor) if pixels.shape[1] == 3 else pixels


def hue_turned(pixels: Tensor, turn: Tensor) -> Tensor:
    """By shares of the colour circle, with HSV's saturation and value kept. Grey pictures stay as they are."""
    if pixels.shape[1] == 1:
        return pixels
    red, green, blue = pixels.contiguous().unbind(1)
    least, value = pixels.amin(1), pixels.amax(1)
    chroma = value - least
    is_red = (value == red).float()
    is_green = (value == green).float() * (1 - is_red)
    is_blue = 1 - is_red - is_green
    from_corner = (green - blue) * is_red + (blue - red) * is_green + (red - green) * is_blue
    sixths = from_corner / chroma.clamp(min=1e-12) + 2 * is_green + 4 * is_blue + 6 * turn.to(pixels)[:, None, None]
    shares = [((sixths + corner).remainder(6) - 3).abs_().sub_(1).clamp_(0, 1) for corner in (0, 4, 2)]
    return torch.stack([least + chroma * share for share in shares], 1)


def sharpened(pixels: Tensor, factor: Tensor) -> Tensor:
    """0 is smoothed, 1 the picture, above it sharper; the outermost pixels stay as they are."""
    rows = pixels[..., :-2, :] + pixels[..., 1:-1, :] + pixels[..., 2:, :]
    around = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    inner = pixels[..., 1:-1, 1:-1]
    sharp = pixels.clone()
    sharp[..., 1:-1, 1:-1] = _between((around + 4 * inner) / 13, inner, factor)
    return sharp


def blurred(pixels: Tensor, sigma: Tensor, most: float) -> Tensor:
    """By a Gaussian of `sigma` pixels, none above `most`; what lies outside repeats the edge."""
    reach = math.ceil(3 * most)  # not of these pictures' greatest sigma, which another batch would not have
    away = torch.arange(-reach, reach + 1)
    weights = torch.exp(-((away / sigma.double().clamp(min=1e-3)[:, None]) ** 2) / 2)
    weights = (weights / weights.sum(1, keepdim=True)).to(pixels)  # (N, taps)
    for dim, pad in ((2, (0, 0, reach, reach)), (3, (reach, reach, 0, 0))):
        around, size = F.pad(pixels, pad, mode="replicate"), pixels.shape[dim]
        taps = (_each(weight, pixels) * around.narrow(dim, i, size) for i, weight in enumerate(weights.unbind(1)))
        pixels = reduce(torch.add, taps)
    return pixels.clamp(0, 1)


def posterized(pixels: Tensor, bits: Tensor) -> Tensor:
    """The first bits of the eight."""
    step = _each(2 ** (8 - bits), pixels)
    return ((pixels * 255).round_() / step).floor_() * step / 255


def solarized(pixels: Tensor, threshold: Tensor) -> Tensor:
    """Inverted from this value on, compared in eight bits."""
    bright = (pixels * 255).round_() >= _each(threshold * 255, pixels)
    return (pixels - bright.to(pixels)).abs_()


def autocontrasted(pixels: Tensor) -> Tensor:
    """Each channel spread over all values; one of a single value stays as it is."""
    least, most = (each[..., None, None] for each in pixels.contiguous().flatten(2).aminmax(dim=2))
    varied = (most > least).to(pixels)
    return ((pixels - least * varied) / (most - least + (1 - varied))).clamp_(0, 1)


def equalized(pixels: Tensor) -> Tensor:
    """Each channel's values spread so that all are about equally frequent, in eight bits."""
    from torchvision.transforms.v2.functional import equalize  # here, because torchvision takes seconds to load

    levels: Tensor = equalize((pixels * 255).round_().to(torch.uint8))
    return levels.to(pixels) / 255


def grey(pixels: Tensor) -> Tensor:
    """(N, 1, H, W), as bright as the colours look."""
    if pixels.shape[1] == 1:
        return pixels
    red, green, blue = (channel * weight for channel, weight in zip(pixels.unbind(1), LUMA, strict=True))
    return (red + green + blue)[:, None]


def _between(base: Tensor, pixels: Tensor, factor: Tensor) -> Tensor:
    """From `base` through the picture and beyond it."""
    return ((pixels - base).mul_(_each(factor, pixels)) + base).clamp_(0, 1)


def _each(numbers: Tensor, pixels: Tensor) -> Tensor:
    return numbers.to(pixels)[:, None, None, None]
