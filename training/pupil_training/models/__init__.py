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

__all__ = ["MODELS", "READS", "Classifier", "InputSize", "build_net", "family_of"]

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

READS: dict[str, tuple[str, ...]] = {  # of `ModelSettings`, by name or family; what else is named stands idle
    KNN: ("neighbours", "features"),
    "linear": (),
    "mlp": ("widths", "dropout", "input_dropout", "max_norm"),
    "lenet5": ("dropout",),
    "lenet5-1998": (),
    "alexnet": ("dropout",),
    "vgg": ("widths", "convolutions", "dropout"),
    **dict.fromkeys(vgg.NAMES, ("dropout",)),
    **dict.fromkeys(resnet.NAMES, ("drop_path",)),
    "airbench": ("widths", "dropout"),
    resnet.WIDE: ("dropout", "drop_path"),
    TORCHVISION: ("download",),
    TIMM: ("dropout", "drop_path"),
}


def family_of(name: str) -> str:
    """The beginning that a net's name shares with its family, or the name itself."""
    return next((beginning for beginning in FAMILIES if name.startswith(beginning)), name)


def build_net(model: ModelSettings, size: InputSize, classes: int) -> nn.Module:
    """A fresh net that maps normalised pixels (N, C, H, W) to logits (N, classes).

    Raises RecipeError: an unknown name (with the names that exist), or an input that the net cannot take.
    """
    try:
        builder = (FAMILIES | MODELS)[family_of(model.name)]
    except KeyError:
        names = ", ".join([*MODELS, "wrn-28-10", f"{TORCHVISION}resnet18", f"{TIMM}resnet18 and their like"])
        raise RecipeError(f"no model is called '{model.name}'; there are {names}") from None
    return builder(model, size, classes)
