"""What the pixels are worth: contrast and brightness."""

from torch import Tensor

from pupil_training.augment.chance import Chance
from pupil_training.settings import AugmentSettings


def change(pixels: Tensor, settings: AugmentSettings, chance: Chance) -> Tensor:
    """Each picture of pixels (N, C, H, W) in [0, 1] changed on its own, and still in [0, 1]."""
    if settings.contrast:
        factor = 1 + chance.between("contrast", settings.contrast).to(pixels)
        mean = pixels.mean((1, 2, 3), keepdim=True)
        pixels = (mean + (pixels - mean) * factor[:, None, None, None]).clamp(0, 1)
    if settings.brightness:
        factor = 1 + chance.between("brightness", settings.brightness).to(pixels)
        pixels = (pixels * factor[:, None, None, None]).clamp(0, 1)
    return pixels
