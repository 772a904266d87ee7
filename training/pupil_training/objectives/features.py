"""Following a teacher's inner layers beside its answers: hints and attention."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pupil_training.data.feed import Batch
from pupil_training.errors import RecipeError
from pupil_training.losses import attention_loss, hint_loss
from pupil_training.models import Classifier
from pupil_training.models.layers import Outputs, shapes, watched
from pupil_training.objectives.objective import Losses, Net, Objective
from pupil_training.settings import DistillSettings

Shapes = Mapping[str, torch.Size]


class Watching:
    """An objective that passes a batch through both nets, with terms of layers that are watched meanwhile.

    `own` projects each guided layer to the channels of its hint (Romero et al. 2015, section 2.2).
    """

    def __init__(self, inner: Objective, student: Classifier, teacher: nn.Module, how: DistillSettings) -> None:
        """Raises RecipeError for layers that do not exist or do not fit."""
        self._inner, self._how = inner, how
        self._student, self._teacher = student, teacher
        self._ours = dict.fromkeys([*how.hint, *how.attention])
        self._theirs = dict.fromkeys([*how.hint.values(), *how.attention.values()])
        height, width, channels = student.input
        pixels = torch.zeros(1, channels, height, width, device=student.mean.device)
        ours, theirs = shapes(student, self._ours, pixels, "student"), shapes(teacher, self._theirs, pixels, "teacher")
        _check_places(how.attention, ours, theirs)
        self._projections = nn.ModuleList(nn.Conv2d(ours[a][1], theirs[b][1], 1) for a, b in how.hint.items())
        self.own: nn.Module = self._projections.to(pixels.device)

    def __call__(self, student: Net, batch: Batch) -> Losses:
        with watched(self._student, self._ours) as ours, watched(self._teacher, self._theirs) as theirs:
            losses = self._inner(student, batch)
        if self._how.hint:
            losses["hint"] = self._how.hint_weight * self._hints(ours, theirs)
        if self._how.attention:
            losses["attention"] = self._how.attention_weight * self._attention(ours, theirs)
        return losses

    def _hints(self, ours: Outputs, theirs: Outputs) -> Tensor:
        pairs = zip(self._projections, self._how.hint.items(), strict=True)
        terms = [hint_loss(project(_map(ours[a])).float(), _map(theirs[b])) for project, (a, b) in pairs]
        return torch.stack(terms).sum()

    def _attention(self, ours: Outputs, theirs: Outputs) -> Tensor:
        terms = [attention_loss(_map(ours[a]), _map(theirs[b])) for a, b in self._how.attention.items()]
        return torch.stack(terms).sum()


def _check_places(layers: Mapping[str, str], ours: Shapes, theirs: Shapes) -> None:
    for name, shape in [*((a, ours[a]) for a in layers), *((b, theirs[b]) for b in layers.values())]:
        if len(shape) != 4:
            raise RecipeError(f"distill.attention: '{name}' puts out N×C, a map with places N×C×H×W is wanted")


def _map(output: Tensor) -> Tensor:
    """A map (N, C, H, W), also of a layer without places."""
    return (output if output.ndim == 4 else output[:, :, None, None]).float()
