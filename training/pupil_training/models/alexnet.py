"""AlexNet (Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks, 2012)."""

from torch import nn

from pupil_training.errors import RecipeError
from pupil_training.models.classifier import InputSize
from pupil_training.settings import ModelSettings

SMALL = range(24, 65)  # sides, in pixels, of pictures for which there is a form of our own


def alexnet(model: ModelSettings, size: InputSize, classes: int) -> nn.Module:
    """As published, in groups as on its two GPUs: 60,965,224 parameters for 3 channels, 1000 classes.

    Takes 227×227 pixels (the paper says 224, for which its first layer needs a padding of 2), or 24 to 64: then
    the first layer goes in steps of one pixel and the hidden layers have 1024 units. The paper's dropout is
    `model.dropout` = 0.5.
    """
    side = (size.height, size.width)
    if side in {(224, 224), (227, 227)}:
        first = nn.Conv2d(size.channels, 96, 11, stride=4, padding=(227 - size.height + 1) // 2)
        features, hidden = 256 * 6 * 6, 4096
    elif size.height in SMALL and size.width in SMALL:
        first = nn.Conv2d(size.channels, 96, 5, padding=2)
        features, hidden = 256 * _pooled(size.height) * _pooled(size.width), 1024
    else:
        raise RecipeError(f"AlexNet takes 227×227, 224×224 or 24 to 64 pixels a side, not {side[0]}×{side[1]}")
    return nn.Sequential(
        first,
        nn.ReLU(),
        _normalisation(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2),
        nn.ReLU(),
        _normalisation(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(256, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Flatten(),
        nn.Dropout(model.dropout),
        nn.Linear(features, hidden),
        nn.ReLU(),
        nn.Dropout(model.dropout),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, classes),
    )


def _normalisation() -> nn.Module:
    """Across five maps (section 3.3). The paper's alpha, 1e-4, weighs the sum of squares, torch's weighs the mean."""
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)


def _pooled(side: int) -> int:
    """What three overlapping pools leave of a side."""
    for _ in range(3):
        side = (side - 3) // 2 + 1
    return side
