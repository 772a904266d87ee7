"""The perceptron's layer: one score a class, each a weighted sum of the pixels (Rosenblatt 1958)."""

from torch import nn

from pupil_training.models.classifier import InputSize
from pupil_training.settings import ModelSettings


def linear(model: ModelSettings, size: InputSize, classes: int) -> nn.Module:
    """One fully connected layer; with cross-entropy it is multinomial logistic regression."""
    return nn.Sequential(nn.Flatten(), nn.Linear(size.height * size.width * size.channels, classes))
