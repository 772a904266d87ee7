"""Weights that can be looked at: those that multiply pixels."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pupil_training.models import Classifier
from pupil_training.report.parts import LeftOut, Part
from pupil_training.report.pictures import weights_picture

MOST = 64  # pictures


def weights_part(model: Classifier) -> Part:
    """The template of each class for a net of one layer, the first layer's filters for a convolutional one.

    Raises LeftOut for other nets.
    """
    templates = class_templates(model)
    if templates is not None:
        pictures = _pictures(templates)
        return {"templates": list(zip(model.classes, pictures, strict=False)), "of": len(templates)}
    filters = first_filters(model)
    if filters is not None:
        return {"filters": _pictures(filters), "of": len(filters), "size": filters.shape[2:]}
    raise LeftOut("Its first layer is neither the only one nor a convolution, so its weights are no pictures.")


def class_templates(model: Classifier) -> NDArray[np.float32] | None:
    """(K, C, H, W): what the only layer multiplies plain pixels with, for each class; None where there are more."""
    learning = [layer for layer in model.net.modules() if next(layer.parameters(recurse=False), None) is not None]
    if len(learning) != 1 or not isinstance(learning[0], nn.Linear):
        return None
    height, width, channels = model.input
    return _array(learning[0].weight.reshape(-1, channels, height, width) / model.std)


def first_filters(model: Classifier) -> NDArray[np.float32] | None:
    """(F, C, h, w): the filters of the first layer, where it is a convolution over the pixels; learned or not."""
    for layer in model.net.modules():
        if next(layer.children(), None) is not None:
            continue
        for weights in (*layer.parameters(recurse=False), *layer.buffers(recurse=False)):
            if weights.ndim == 4 and weights.shape[1] == model.input.channels:
                return _array(weights)
            if weights.ndim >= 2:
                return None  # the first layer mixes pixels in another way
    return None


def _pictures(weights: NDArray[np.float32]) -> list[str]:
    largest = float(np.abs(weights).max())
    return [weights_picture(each, largest) for each in weights[:MOST]]


def _array(weights: Tensor) -> NDArray[np.float32]:
    with torch.no_grad():
        array: NDArray[np.float32] = weights.float().cpu().numpy()
    return array
