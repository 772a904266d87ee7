"""The net that a run trains, as it is before the first step."""

from torch import Tensor

from pupil_training.models import Classifier
from pupil_training.recipe import Recipe
from pupil_training.runs import new_classifier
from pupil_training.transfer import take_over


def new_student(recipe: Recipe, images: Tensor, classes: tuple[str, ...]) -> Classifier:
    """A classifier with fresh weights, normalised by its training images (N, H, W, C), or with another run's."""
    student = new_classifier(recipe.model, recipe.data, classes)
    student.fit_to(images)
    take_over(student, recipe)
    return student
