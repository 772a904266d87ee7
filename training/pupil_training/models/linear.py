"""The perceptron's layer: one score a class, each a weighted sum of the pixels (Rosenblatt 1958)."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pupil_training.errors import RecipeError
from pupil_training.models.classifier import Classifier, InputSize
from pupil_training.models.stages import stages
from pupil_training.settings import ModelSettings


def linear(model: ModelSettings, size: InputSize, classes: int) -> nn.Module:
    """One fully connected layer; with cross-entropy it is multinomial logistic regression."""
    return nn.Sequential(nn.Flatten(), nn.Linear(size.height * size.width * size.channels, classes))


def weight_pictures(classifier: Classifier) -> list[NDArray[np.uint8]]:
    """What each class looks for: a picture (H, W) or (H, W, 3) a class, grey 128 where a pixel does not matter.

    Brighter where a bright pixel speaks for the class, darker where it speaks against it; all on one scale, so that
    classes can be compared. Raises RecipeError for a model that is more than one layer.
    """
    layer, *more = stages(classifier.net)
    if more or not isinstance(layer, nn.Linear):
        raise RecipeError("only the weights of model.name = 'linear' are pictures; other nets have more than one layer")
    height, width, channels = classifier.input
    weights = layer.weight.detach().reshape(-1, channels, height, width) / classifier.std  # of plain pixels
    shown = 128 + 127 * weights / weights.abs().max().clamp_min(1e-12)
    pictures = shown.round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [picture[..., 0] if channels == 1 else picture for picture in pictures]
