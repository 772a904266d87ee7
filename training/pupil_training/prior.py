"""A model's shift for classes that it was never shown: its mean scores on the pool become the classes' known shares."""

import torch
from torch import Tensor

from pupil_training.data.images import Images
from pupil_training.evaluate import logits_of
from pupil_training.models import Classifier
from pupil_trust import prior_shift


def match_prior(model: Classifier, pool: Images, labels: Tensor) -> None:
    """Sets `model.shift` by the unlabelled pool (N, H, W, C); the known shares are those among `labels` (M,)."""
    prior = torch.bincount(labels, minlength=len(model.classes)).double() / len(labels)
    model.shift.zero_()  # a run that was killed after this and is finished once more has one already
    logits = logits_of(model, pool)
    model.shift.copy_(torch.from_numpy(prior_shift(logits.double().numpy(), prior.numpy())))
