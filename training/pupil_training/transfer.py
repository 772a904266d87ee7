"""Weights from elsewhere: taking them over, and how fast which of them may change."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from pupil_training.errors import RecipeError
from pupil_training.models import Classifier
from pupil_training.models.pretrained import pretrained
from pupil_training.models.stages import head, stages
from pupil_training.recipe import Recipe
from pupil_training.runs import load_run
from pupil_training.settings import TransferSettings

LOG = logging.getLogger(__name__)


def take_over(student: Classifier, recipe: Recipe) -> None:
    """Fills the student, all but its last layer, from the run or the weights that the recipe names, if any.

    The normalisation comes along with a run and with torchvision's weights, because their layers expect it; a file
    of weights has none. Raises RecipeError: no such file or name, not a state dict, or weights of another
    architecture; RunError: no such run.
    """
    if recipe.transfer.run is not None:
        source = load_run(recipe.transfer.run).model
        student.mean.copy_(source.mean)
        student.std.copy_(source.std)
        fill(student.net, source.net.state_dict(), str(recipe.transfer.run))
    elif (known := pretrained(recipe.model)) is not None:
        student.mean.copy_(torch.tensor(known.mean)[:, None, None])
        student.std.copy_(torch.tensor(known.std)[:, None, None])
        fill(student.net, known.state, f"{recipe.model.name} {recipe.model.weights}")
    elif recipe.model.weights is not None:
        fill(student.net, read_weights(recipe.model.weights), str(recipe.model.weights))


def read_weights(file: Path) -> dict[str, Tensor]:
    """A state dict from a file of ours or of anybody's; nothing in it is run."""
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RecipeError(f"{file}: no such file of pretrained weights") from None
    except Exception as error:  # torch.load raises half a dozen types for a file that is not its own
        raise RecipeError(f"{file}: not a readable state dict ({type(error).__name__})") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise RecipeError(f"{file}: not a state dict, which holds tensors by name")
    bad = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if bad:
        raise RecipeError(f"{file}: '{bad[0]}' holds NaN or infinite values")
    return state


def fill(net: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Takes over all but the last layer, which the number of classes shapes, and says so.

    Raises RecipeError where tensors lack.
    """
    own = net.state_dict()
    last = {id(tensor) for tensor in (*head(net).parameters(), *head(net).buffers())}
    body = [name for name, tensor in net.state_dict(keep_vars=True).items() if id(tensor) not in last]
    wrong = [name for name in body if name not in state or state[name].shape != own[name].shape]
    if wrong:
        raise RecipeError(
            f"{source}: weights of another architecture; {len(wrong)} of {len(body)} tensors do not fit, as {wrong[0]}"
        )
    net.load_state_dict({name: state[name] for name in body}, strict=False)
    theirs = next((len(state[name]) for name in own if name not in body and name in state), "no")
    LOG.warning("%s: its last layer, of %s outputs, is not taken over; ours begins fresh", source, theirs)


def rates(student: Classifier, recipe: Recipe) -> Iterator[tuple[nn.Module, float]]:
    """What learns, with the factor of its rate: the head's is 1; that of layers from elsewhere is `body_rate`."""
    fresh = recipe.transfer.run is None and recipe.model.weights is None
    for stage in stages(student.net):
        yield stage, 1.0 if fresh or stage is head(student.net) else recipe.transfer.body_rate


class Thaw:
    """Which stages learn at a step: only the head (`head`), all (`whole`), or one more every so often (`gradual`)."""

    def __init__(self, student: Classifier, transfer: TransferSettings) -> None:
        self._student = student
        self._stages = stages(student.net)
        self._mode = transfer.mode
        self._every = transfer.unfreeze_every
        self._learning = -1

    def at(self, step: int) -> None:
        """Freezes and thaws for step 1, 2, …"""
        learning = {"head": 1, "whole": len(self._stages), "gradual": 1 + (step - 1) // self._every}[self._mode]
        learning = min(learning, len(self._stages))
        if learning != self._learning:
            self._learning = learning
            self._student.freeze(self._stages[: len(self._stages) - learning])
