"""timm's models by name, where timm is installed: "timm/resnet18"."""

from typing import Any

from torch import nn

from pupil_training.errors import RecipeError
from pupil_training.models.classifier import InputSize
from pupil_training.models.dry_run import check_size
from pupil_training.settings import ModelSettings

TIMM = "timm/"


def timm_zoo(model: ModelSettings, size: InputSize, classes: int) -> nn.Module:
    """A timm model with fresh weights, for these pictures; `model.dropout` and `model.drop_path` are handed on.

    Raises RecipeError: timm is not installed or has no such model, or the model does not take these settings.
    """
    try:
        import timm
    except ModuleNotFoundError:
        raise RecipeError(f"{model.name} needs timm: pip install 'pupil[timm]'") from None
    name = model.name.removeprefix(TIMM)
    if not timm.is_model(name):
        near = timm.list_models(f"*{name}*")[:20]
        raise RecipeError(f"timm has no model '{name}'; {', '.join(near) or 'timm.list_models() names those it has'}")
    settings: dict[str, Any] = {"drop_rate": model.dropout or None, "drop_path_rate": model.drop_path or None}
    known = timm.get_pretrained_cfg(name)
    if known is not None and known.fixed_input_size:  # as a transformer's; others take pictures of any size
        settings["img_size"] = (size.height, size.width)
    try:
        net: nn.Module = timm.create_model(name, num_classes=classes, in_chans=size.channels, **settings)
    except (TypeError, ValueError, AssertionError) as error:
        raise RecipeError(f"{model.name} cannot be made so: {error}") from None
    check_size(net, size, model.name)
    return net
