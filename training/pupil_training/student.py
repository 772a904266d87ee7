"""The net that a run trains, as it is before the first step."""

import torch
from torch import Tensor

from pupil_training.data.images import Images
from pupil_training.models import Classifier
from pupil_training.recipe import Recipe
from pupil_training.runs import new_classifier
from pupil_training.transfer import take_over

MOST = 2**28  # bytes of the images that normalise a student: all of CIFAR or MNIST, 1,783 of 224×224×3


def new_student(recipe: Recipe, images: Images, classes: tuple[str, ...]) -> Classifier:
    """A classifier with fresh weights, normalised by its training images (N, H, W, C), or with another run's."""
    student = new_classifier(recipe.model, recipe.data, classes)
    student.fit_to(some_of(images))
    take_over(student, recipe)
    return student


def some_of(images: Images) -> Tensor:
    """All of them, or where they are too many some from every part of the set, whose classes may come in order."""
    count, most = len(images), max(1, MOST // images[:1].numel())
    return images[:] if count <= most else images[torch.arange(most) * count // most]
