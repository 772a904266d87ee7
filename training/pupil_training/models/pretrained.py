"""torchvision's pretrained weights by their names there: DEFAULT, IMAGENET1K_V1 and their like."""

import contextlib
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pupil_training.errors import RecipeError
from pupil_training.models.zoo import INCEPTION, TORCHVISION
from pupil_training.settings import ModelSettings


class Pretrained(NamedTuple):
    """Weights, and the normalisation that they were trained with."""

    state: dict[str, Tensor]
    mean: tuple[float, ...]  # a channel each, of pixels in [0, 1]
    std: tuple[float, ...]


def pretrained(model: ModelSettings) -> Pretrained | None:
    """The weights that torchvision calls `model.weights`; None where that is no name, but a file.

    They come from torch's cache; only `model.download` = true lets torchvision fetch what is not there.
    Raises RecipeError: not in the cache, not to be fetched, or damaged.
    """
    weights = _named(model)
    if weights is None:
        return None
    from torchvision import models

    _check_cached(model, weights)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # torch announces a download, and data alone belongs there
            net = models.get_model(model.name.removeprefix(TORCHVISION), weights=weights)  # knows old names of tensors
    except Exception as error:  # no network, no disk, a wrong hash, a damaged file: a dozen types
        raise RecipeError(f"{model.name}: weights {weights.name} cannot be had from {weights.url} ({error})") from None
    transforms = weights.transforms()
    mean, std = tuple(transforms.mean), tuple(transforms.std)
    if model.name.removeprefix(TORCHVISION) in INCEPTION:
        mean = std = (0.5, 0.5, 0.5)  # torchvision's own nets translate into this, their first trainers', by themselves
    return Pretrained(net.state_dict(), mean, std)


def _named(model: ModelSettings) -> Any | None:
    """torchvision's entry for the weights."""
    if not model.name.startswith(TORCHVISION) or model.weights is None:
        return None
    from torchvision import models

    entries = models.get_model_weights(model.name.removeprefix(TORCHVISION))
    name = str(model.weights)
    if name in entries.__members__:  # DEFAULT is one of them
        return entries[name]
    if not model.weights.exists() and len(model.weights.parts) == 1 and not model.weights.suffix:
        names = ", ".join(entries.__members__) or "none"
        raise RecipeError(f"{model.name} has no weights called '{name}', nor is there such a file; it has {names}")
    return None


def _check_cached(model: ModelSettings, weights: Any) -> None:
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    if not file.exists() and not model.download:
        raise RecipeError(
            f"{model.name}: weights {weights.name} are not at {file}; put them there, "
            f"or set model.download = true to fetch {weights.url}"
        )
