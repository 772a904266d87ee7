"""A model's layers by name, as `named_modules` has them: what they put out while the model is at work."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pupil_training.errors import RecipeError

Outputs = dict[str, Any]  # by layer; a tensor, or what else a layer gives


@contextmanager
def watched(model: nn.Module, names: Iterable[str]) -> Iterator[Outputs]:
    """What the named layers put out, last, within the block; the model is as before after it."""
    outputs: Outputs = {}
    with ExitStack() as hooks:
        for name in names:
            hooks.callback(model.get_submodule(name).register_forward_hook(_keep(outputs, name)).remove)
        yield outputs


def _keep(outputs: Outputs, name: str) -> Any:
    def hook(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        # a copy, for a ReLU that works in place would change what its neighbour gave
        outputs[name] = output.clone() if isinstance(output, Tensor) else output

    return hook


def shapes(model: nn.Module, names: Iterable[str], pixels: Tensor, whose: str) -> dict[str, torch.Size]:
    """The shape of each named layer's output for `pixels`; the model's state and mode stay as they are.

    Raises RecipeError: no such layer, with those that exist; one that is not used or puts out no map.
    """
    names = tuple(names)
    known = [name for name, _ in model.named_modules() if name]
    if unknown := [name for name in names if name not in known]:
        raise RecipeError(f"the {whose} has no layer '{unknown[0]}'; its layers are {', '.join(known)}")
    training = model.training
    model.eval()  # or the batch norms would move
    with torch.no_grad(), watched(model, names) as outputs:
        model(pixels)
    model.train(training)
    for name in names:
        output = outputs.get(name)
        if not isinstance(output, Tensor) or output.ndim not in (2, 4):
            found = "×".join(map(str, output.shape)) if isinstance(output, Tensor) else type(output).__name__
            raise RecipeError(f"the {whose}'s layer '{name}' puts out {found}, where N×C×H×W or N×C is wanted")
    return {name: outputs[name].shape for name in names}
