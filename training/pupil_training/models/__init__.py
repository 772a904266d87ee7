"""Nets by name."""

from collections.abc import Callable

from torch import nn

from pupil_training.errors import RecipeError
from pupil_training.models import resnet, vgg
from pupil_training.models.airbench import airbench
from pupil_training.models.alexnet import alexnet
from pupil_training.models.classifier import Classifier, InputSize
from pupil_training.models.knn import KNN, knn
from pupil_training.models.lenet import lenet5, lenet5_1998
from pupil_training.models.linear import linear
from pupil_training.models.mlp import mlp
from pupil_training.models.timm_zoo import TIMM, timm_zoo
from pupil_training.models.zoo import TORCHVISION, zoo
from pupil_training.settings import ModelSettings

__all__ = ["MODELS", "Classifier", "InputSize", "build_net"]

Builder = Callable[[ModelSettings, InputSize, int], nn.Module]

MODELS: dict[str, Builder] = {
    KNN: knn,
    "linear": linear,
    "mlp": mlp,
    "lenet5": lenet5,
    "lenet5-1998": lenet5_1998,
    "alexnet": alexnet,
    "vgg": vgg.vgg,
    **dict.fromkeys(vgg.NAMES, vgg.published_vgg),
    **dict.fromkeys(resnet.NAMES, resnet.resnet),
    "airbench": airbench,
}
FAMILIES: dict[str, Builder] = {  # by how their names begin
    resnet.WIDE: resnet.wide_resnet,
    TORCHVISION: zoo,
    TIMM: timm_zoo,
}


def build_net(model: ModelSettings, size: InputSize, classes: int) -> nn.Module:
    """A fresh net that maps normalised pixels (N, C, H, W) to logits (N, classes).

    Raises RecipeError: an unknown name (with the names that exist), or an input that the net cannot take.
    """
    for beginning, family in FAMILIES.items():
        if model.name.startswith(beginning):
            return family(model, size, classes)
    try:
        builder = MODELS[model.name]
    except KeyError:
        names = ", ".join([*MODELS, "wrn-28-10", f"{TORCHVISION}resnet18", f"{TIMM}resnet18 and their like"])
        raise RecipeError(f"no model is called '{model.name}'; there are {names}") from None
    return builder(model, size, classes)
