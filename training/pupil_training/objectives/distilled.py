"""Learning from a teacher, with labels or without."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from pupil_training.augment import Views
from pupil_training.data.feed import Batch
from pupil_training.objectives.following import Follow
from pupil_training.objectives.objective import Losses, Net
from pupil_training.settings import DistillSettings

Ask = Callable[[Tensor, Batch], Tensor]  # the student's pixels, and the batch they are views of -> logits (N, K)


class Distilled:
    """hard_weight · CE(labels) + soft_weight · the chosen distance to the teacher on the very picture that it sees."""

    def __init__(self, ask: Ask, follow: Follow, views: Views, how: DistillSettings, smoothing: float) -> None:
        self.own = nn.Module()
        self._ask, self._follow = ask, follow
        self._views, self._how, self._smoothing = views, how, smoothing

    def __call__(self, student: Net, batch: Batch) -> Losses:
        pixels, labels = self._views.mixed(batch, batch.targets)
        logits = student(pixels).float()
        answers = self._ask(pixels, batch)
        losses = {}
        if self._how.soft_weight:
            losses["soft"] = self._how.soft_weight * self._follow(logits, answers, labels)
        if labels is not None and self._how.hard_weight:
            hard = F.cross_entropy(logits, labels, label_smoothing=self._smoothing)
            losses["hard"] = self._how.hard_weight * hard
        return losses
