"""Two pictures in one, with targets to match: MixUp (Zhang et al. 2018) and CutMix (Yun et al. 2019).

A picture is mixed with its neighbour in the batch, 0 with 1, 2 with 3, each in its own share, so that a batch cut
into even parts mixes as the whole one does. The batch's order is random already.
"""

import torch
from scipy.special import betaincinv
from torch import Tensor

from pupil_training.augment.chance import Chance
from pupil_training.settings import AugmentSettings


def pairs(
    pixels: Tensor, targets: Tensor | None, settings: AugmentSettings, chance: Chance
) -> tuple[Tensor, Tensor | None]:
    """Mixed pixels (N, C, H, W), N even, and mixed distributions (N, K); None stays None.

    The share that a picture keeps of itself is drawn from Beta(alpha, alpha).
    """
    alpha = settings.mixup or settings.cutmix
    kept = torch.from_numpy(betaincinv(alpha, alpha, chance.uniform("mix").double().numpy())).float()
    if settings.mixup:
        share = kept.to(pixels)[:, None, None, None]
        mixed = share * pixels + (1 - share) * _neighbours(pixels)
    else:
        window, kept = _window(pixels, kept, chance)
        shown = window.to(pixels)  # as 0 and 1: `torch.where` takes several times as long
        mixed = shown * _neighbours(pixels) + (1 - shown) * pixels
    if targets is None:
        return mixed, None
    share = kept.to(targets)[:, None]
    return mixed, share * targets + (1 - share) * _neighbours(targets)


def _neighbours(values: Tensor) -> Tensor:
    return values.reshape(-1, 2, *values.shape[1:]).flip(1).reshape(values.shape)


def _window(pixels: Tensor, kept: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """Where the neighbour shows, (N, 1, H, W), and what the picture really keeps, since windows end at the edge."""
    sides = []
    for name, size in (("top", pixels.shape[2]), ("left", pixels.shape[3])):
        half = (size * (1 - kept).sqrt() / 2)[:, None]
        middle = chance.whole(f"mix {name}", size)[:, None]
        place = torch.arange(size)
        sides.append((place >= (middle - half).round()) & (place < (middle + half).round()))
    window = sides[0][:, None, :, None] & sides[1][:, None, None, :]
    return window, 1 - window.float().mean((1, 2, 3))
