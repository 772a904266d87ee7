"""How good a model is, and how close to its teacher."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from pupil_training.data.images import Images, batch_for, batches
from pupil_training.pixels import to_pixels
from pupil_trust import brier_score, equal_mass_calibration_error, expected_calibration_error, wilson_interval

Metrics = Mapping[str, Any]
SOON = 2.0  # seconds after which a person wants to see that it goes on


class Counted(NamedTuple):
    """A share with the counts behind it."""

    right: int
    of: int

    @property
    def share(self) -> float:
        return self.right / self.of


def logits_of(model: nn.Module, images: Images) -> Tensor:
    """Logits (N, K), on the CPU, of uint8 images (N, H, W, C); the model's mode is left as it was."""
    training = model.training
    device = next(iter(model.state_dict().values())).device  # a model may have no parameters
    model.eval()
    total = math.ceil(len(images) / batch_for(images))
    shown = tqdm(batches(images, device), "answering", total, unit="batch", leave=False, disable=None, delay=SOON)
    with torch.no_grad():
        logits = [model(to_pixels(batch)).cpu() for batch in shown]
    model.train(training)
    return torch.cat(logits)


def accuracy(logits: Tensor, labels: Tensor) -> Counted:
    """How many images have their label as the best class."""
    return Counted(int((logits.argmax(1) == labels).sum()), len(labels))


def shares(logits: Tensor, labels: Tensor, teacher_logits: Tensor | None) -> dict[str, float]:
    """For the log of a run: how much of the validation split is right, and how much as the teacher has it."""
    right = {"validation_accuracy": accuracy(logits, labels).share}
    if teacher_logits is None:
        return right
    return right | {"validation_agreement": accuracy(logits, teacher_logits.argmax(1)).share}


def calibration(logits: Tensor, labels: Tensor, temperature: float) -> dict[str, float]:
    """How honest softmax(logits / temperature) is.

    `nll`, the negative log-likelihood in nats; `brier`, the Brier score; `ece` and `ece_equal_mass`, the expected
    calibration error over 15 bins.
    """
    log_scores = F.log_softmax(logits.double() / temperature, dim=1)
    confidence, predicted = log_scores.exp().max(1)
    correct = (predicted == labels).numpy()
    return {
        "nll": F.nll_loss(log_scores, labels).item(),
        "brier": brier_score(log_scores.exp().numpy(), labels.numpy()),
        "ece": expected_calibration_error(confidence.numpy(), correct),
        "ece_equal_mass": equal_mass_calibration_error(confidence.numpy(), correct),
    }


def closeness(logits: Tensor, temperature: float, teacher_logits: Tensor, teacher_temperature: float) -> Metrics:
    """Agreement on the best class, and the mean KL(teacher ‖ student) of calibrated scores in nats."""
    ours = F.log_softmax(logits.double() / temperature, dim=1)
    theirs = F.log_softmax(teacher_logits.double() / teacher_temperature, dim=1)
    kl = F.kl_div(ours, theirs, log_target=True, reduction="batchmean").item()
    return {"agreement": accuracy(logits, teacher_logits.argmax(1))._asdict(), "kl": kl}


def interval(counted: Counted) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    low, high = wilson_interval(counted.right, counted.of, confidence=0.95)
    return float(low), float(high)
