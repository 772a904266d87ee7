"""Learning from labels."""

import torch.nn.functional as F
from torch import nn

from pupil_training.augment import Views
from pupil_training.data.feed import Batch
from pupil_training.objectives.objective import Losses, Net


class Supervised:
    """Cross-entropy on augmented pictures, labels smoothed if asked for (Szegedy et al. 2016)."""

    def __init__(self, views: Views, smoothing: float) -> None:
        self.own = nn.Module()
        self._views = views
        self._smoothing = smoothing

    def __call__(self, student: Net, batch: Batch) -> Losses:
        pixels, targets = self._views.mixed(batch, batch.targets)
        assert targets is not None  # only a teacher can do without
        return {"hard": F.cross_entropy(student(pixels).float(), targets, label_smoothing=self._smoothing)}
