"""Learning from a teacher, with labels or without."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from pupil_training.augment import Views
from pupil_training.data.feed import Batch
from pupil_training.losses import soft_loss
from pupil_training.objectives.objective import Losses, Net
from pupil_training.settings import DistillSettings

Ask = Callable[[Tensor, Batch], Tensor]  # the student's pixels, and the batch they are views of -> logits (N, K)


class Distilled:
    """hard_weight · CE(labels) + soft_weight · the chosen distance to the teacher on the very picture that it sees."""

    def __init__(self, ask: Ask, views: Views, how: DistillSettings) -> None:
        self.own = nn.Module()
        self._ask = ask
        self._views = views
        self._how = how

    def __call__(self, student: Net, batch: Batch) -> Losses:
        pixels, labels = self._views.mixed(batch, batch.targets)
        logits = student(pixels).float()
        losses = {}
        if self._how.soft_weight:
            soft = soft_loss(logits, self._ask(pixels, batch), self._how.temperature)
            losses["soft"] = self._how.soft_weight * soft
        if labels is not None and self._how.hard_weight:
            losses["hard"] = self._how.hard_weight * F.cross_entropy(logits, labels)
        return losses
