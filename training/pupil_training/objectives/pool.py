"""Learning from labelled images and, at the same time, from a pool without labels.

Labelled and unlabelled images pass through the net together, so that a batch norm sees one distribution.
No promise holds for labels that are drawn while the model changes; certificates are for the finished one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pupil_training.augment import Views
from pupil_training.data.feed import Batch, Feed
from pupil_training.objectives.objective import Losses, Net
from pupil_training.settings import PoolSettings


class Pool:
    """Batches of the pool, one beside each labelled batch, and the weight of their term."""

    def __init__(self, feed: Feed, steps: int, settings: PoolSettings) -> None:
        self._feed = feed
        self._steps = steps
        self._settings = settings

    def beside(self, batch: Batch) -> Batch:
        """The part of the pool's step that goes with this part of the labelled one."""
        return self._feed.part(batch.step, batch.part)

    def weight(self, step: int) -> float:
        """0 until the rise begins, then along a line to the full weight (Lee 2013, equation 16)."""
        begin, end = (share * self._steps for share in self._settings.rise)
        return self._settings.weight * min(max((step - begin) / max(end - begin, 1e-9), 0.0), 1.0)


def confident(logits: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The best class (N,) of logits (N, K), and which images reach `threshold` with it."""
    confidence, best = logits.detach().softmax(1).max(1)
    return best, confidence >= threshold


def masked(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of the images in `mask` (N,), divided by all N: few sure images weigh little."""
    return (F.cross_entropy(logits, targets, reduction="none") * mask).mean()


class PseudoLabel:
    """The student's own best class is the label, drawn anew at every step (Lee 2013); threshold 0 is the paper's."""

    def __init__(self, views: Views, pool: Pool, settings: PoolSettings, smoothing: float) -> None:
        self.own = nn.Module()
        self._views, self._pool, self._settings, self._smoothing = views, pool, settings, smoothing

    def __call__(self, student: Net, batch: Batch) -> Losses:
        pool = self._pool.beside(batch)
        logits = student(torch.cat([self._views(batch), self._views(pool)])).float()
        ours, theirs = torch.split(logits, [len(batch.images), len(pool.images)])
        labels, sure = confident(theirs, self._settings.threshold)
        return {
            "hard": _cross_entropy(ours, batch, self._smoothing),
            "pool": self._pool.weight(batch.step) * masked(theirs, labels, sure),
        }


class FixMatch:
    """A sure answer on a weak view is the label of a strong one (Sohn et al. 2020)."""

    def __init__(self, views: Views, strong: Views, pool: Pool, settings: PoolSettings, smoothing: float) -> None:
        self.own = nn.Module()
        self._views, self._strong = views, strong
        self._pool, self._settings, self._smoothing = pool, settings, smoothing

    def __call__(self, student: Net, batch: Batch) -> Losses:
        pool = self._pool.beside(batch)
        pixels = [self._views(batch), self._views(pool), self._strong(pool)]
        logits = student(torch.cat(pixels)).float()
        ours, weak, strong = torch.split(logits, [len(part) for part in pixels])
        labels, sure = confident(weak, self._settings.threshold)
        return {
            "hard": _cross_entropy(ours, batch, self._smoothing),
            "pool": self._pool.weight(batch.step) * masked(strong, labels, sure),
        }


class MeanTeacher:
    """The student's scores follow those of its own average, on another view (Tarvainen, Valpola 2017)."""

    def __init__(
        self, average: nn.Module, views: Views, others: Views, pool: Pool, settings: PoolSettings, smoothing: float
    ) -> None:
        self.own = nn.Module()
        self._average = (average,)  # in a tuple, or it would be trained and saved with `own`
        self._views, self._others = views, others
        self._pool, self._settings, self._smoothing = pool, settings, smoothing

    def __call__(self, student: Net, batch: Batch) -> Losses:
        pool = self._pool.beside(batch)
        logits = student(torch.cat([self._views(batch), self._views(pool)])).float()
        with torch.no_grad():
            followed = self._average[0](torch.cat([self._others(batch), self._others(pool)])).float()
        return {
            "hard": _cross_entropy(logits[: len(batch.images)], batch, self._smoothing),
            "pool": self._pool.weight(batch.step) * F.mse_loss(logits.softmax(1), followed.softmax(1)),
        }


def _cross_entropy(logits: Tensor, batch: Batch, smoothing: float) -> Tensor:
    assert batch.targets is not None  # the labelled images of a run have labels
    return F.cross_entropy(logits, batch.targets, label_smoothing=smoothing)
