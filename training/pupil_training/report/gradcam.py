"""What a convolutional net looks at (Grad-CAM, Selvaraju et al. 2017), by captum."""

from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from captum.attr import LayerAttribution, LayerGradCam
from numpy.typing import NDArray
from torch import Tensor, nn

from pupil_training.models import Classifier
from pupil_training.pixels import to_pixels
from pupil_training.report.parts import LeftOut

HEAT = mpl.colormaps["inferno"]


def attention(model: Classifier, images: Tensor, classes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Heat (N, H, W) from 0 to 1: where uint8 images (N, H, W, C) speak for the class asked of each.

    Raises LeftOut for a net that has no map.
    """
    pixels = to_pixels(images.to(model.mean.device))
    layer = last_map(model, pixels[:1])
    target = torch.from_numpy(classes).to(pixels.device)
    heat = LayerGradCam(model, layer).attribute(pixels, target, relu_attributions=True)
    heat = LayerAttribution.interpolate(heat, tuple(pixels.shape[2:]), "bilinear")[:, 0].detach()
    most = heat.amax((1, 2), keepdim=True).clamp_min(1e-12)
    scaled: NDArray[np.float32] = (heat / most).cpu().numpy()
    return scaled


def last_map(model: Classifier, pixels: Tensor) -> nn.Module:
    """The last layer or block whose output is a map of more than one place, pooling apart, which would blur it."""
    found: list[nn.Module] = []

    def look(layer: nn.Module, _: Any, output: Any) -> None:
        is_map = isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1
        if is_map and "pool" not in type(layer).__name__.lower():
            found.append(layer)

    hooks = [layer.register_forward_hook(look) for layer in model.net.modules()]
    with torch.no_grad():
        model(pixels)
    for hook in hooks:
        hook.remove()
    if not found:
        raise LeftOut("The net keeps no map of the picture, so what it looks at cannot be drawn.")
    return found[-1]


def overlaid(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The picture (H, W, C) in grey under its heat (H, W), as (H, W, 3)."""
    grey = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    glow = HEAT(heat)[..., :3] * 255
    share = 0.75 * heat[..., np.newaxis]
    mixed: NDArray[np.uint8] = (grey * (1 - share) + glow * share).round().astype(np.uint8)
    return mixed
