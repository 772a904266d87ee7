"""torchvision's classification models by name: "torchvision/resnet18"."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pupil_training.errors import RecipeError
from pupil_training.models.classifier import InputSize
from pupil_training.recipe import ModelSettings

TORCHVISION = "torchvision/"


def zoo(model: ModelSettings, size: InputSize, classes: int) -> nn.Module:
    """A torchvision model, from scratch or from `model.weights`, a local state dict of any number of classes."""
    from torchvision import models  # takes longer to import than torch itself

    if size.channels != 3:
        raise RecipeError(f"{model.name} takes colour pictures: set data.channels = 3")
    name = model.name.removeprefix(TORCHVISION)
    known: list[str] = models.list_models(module=models)
    if name not in known:
        raise RecipeError(f"torchvision has no model '{name}'; it has {', '.join(known)}")
    more: dict[str, Any] = {"init_weights": True} if name in {"googlenet", "inception_v3"} else {}
    if more:
        more["aux_logits"] = False  # a training aid of 2014 that would make the output a tuple
    net: nn.Module = models.get_model(name, weights=None, num_classes=classes, **more)
    if model.weights is not None:
        load_pretrained(net, model.weights)
    return net


def load_pretrained(net: nn.Module, file: Path) -> None:
    """Fills `net` from a state dict; only its last layer, which the number of classes shapes, may differ.

    Raises RecipeError: no such file, not a state dict, or weights of another architecture.
    """
    try:
        state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RecipeError(f"{file}: no such file of pretrained weights") from None
    except Exception as error:  # torch.load raises half a dozen types for a file that is not its own
        raise RecipeError(f"{file}: not a readable state dict ({type(error).__name__})") from None
    own = net.state_dict()
    last = list(own)[-1].rpartition(".")[0] + "."
    fitting = {name: tensor for name, tensor in state.items() if name in own and tensor.shape == own[name].shape}
    wrong = [name for name in own.keys() - fitting.keys() if not name.startswith(last)]
    if wrong:
        raise RecipeError(f"{file}: weights of another architecture; {len(wrong)} tensors do not fit, as {wrong[0]}")
    net.load_state_dict(fitting, strict=False)
