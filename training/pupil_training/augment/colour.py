"""What the pixels are worth: contrast, brightness, saturation, hue, and how sharp they are."""

from torch import Tensor

from pupil_training.augment.chance import Chance
from pupil_training.augment.tones import blurred, brightened, contrasted, hue_turned, saturated
from pupil_training.settings import AugmentSettings


def change(pixels: Tensor, how: AugmentSettings, chance: Chance) -> Tensor:
    """Each picture of pixels (N, C, H, W) in [0, 1] changed on its own, and still in [0, 1]."""
    if how.contrast:
        pixels = contrasted(pixels, 1 + chance.between("contrast", how.contrast))
    if how.brightness:
        pixels = brightened(pixels, 1 + chance.between("brightness", how.brightness))
    if how.saturation:
        pixels = saturated(pixels, 1 + chance.between("saturation", how.saturation))
    if how.hue:
        pixels = hue_turned(pixels, chance.between("hue", how.hue))
    if how.blur:
        pixels = blurred(pixels, chance.uniform("blur") * how.blur, how.blur)
    return pixels
