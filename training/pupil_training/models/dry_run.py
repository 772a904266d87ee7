"""Whether a net takes pictures of some size: it is asked without computing anything."""

from itertools import chain

import torch
from torch import nn
from torch.func import functional_call

from pupil_training.errors import RecipeError
from pupil_training.models.classifier import InputSize


def check_size(net: nn.Module, size: InputSize, name: str) -> None:
    """Raises RecipeError, with what the net says, where it does not take such pictures; its mode is left as it was."""
    shapes = {key: tensor.to("meta") for key, tensor in chain(net.named_parameters(), net.named_buffers())}
    training = net.training
    net.eval()
    try:
        with torch.no_grad():
            functional_call(net, shapes, torch.zeros(1, size.channels, size.height, size.width, device="meta"))
    except (AssertionError, RuntimeError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise RecipeError(f"{name} does not take pictures of {size.height}×{size.width} ({why})") from None
    net.train(training)
