"""torchvision's classification models by name: "torchvision/resnet18"."""

from typing import Any

from torch import nn

from pupil_training.errors import RecipeError
from pupil_training.models.classifier import InputSize
from pupil_training.models.dry_run import check_size
from pupil_training.settings import ModelSettings

TORCHVISION = "torchvision/"
INCEPTION = {"googlenet", "inception_v3"}


def zoo(model: ModelSettings, size: InputSize, classes: int) -> nn.Module:
    """A torchvision model with fresh weights. Raises RecipeError: there is none, or it is for other pictures."""
    from torchvision import models  # takes longer to import than torch itself

    if size.channels != 3:
        raise RecipeError(f"{model.name} takes colour pictures: set data.channels = 3")
    name = model.name.removeprefix(TORCHVISION)
    known: list[str] = models.list_models(module=models)
    if name not in known:
        raise RecipeError(f"torchvision has no model '{name}'; it has {', '.join(known)}")
    more: dict[str, Any] = {"init_weights": True} if name in INCEPTION else {}
    if more:
        more["aux_logits"] = False  # a training aid of 2014 that would make the output a tuple
    net: nn.Module = models.get_model(name, weights=None, num_classes=classes, **more)
    check_size(net, size, model.name)
    return net
