"""k nearest neighbours (Cover, Hart 1967) as a net, so that it is evaluated, exported and served like one.

It compares plain pixels, or what another net makes of them just before its last layer. Nothing is learned: the
training images are kept, and every question is compared with all of them by one matrix product.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pupil_training.errors import RecipeError
from pupil_training.models.classifier import InputSize
from pupil_training.models.stages import without_head
from pupil_training.settings import ModelSettings

KNN = "knn"
MOST_BYTES = 2_000_000_000  # of what is kept: one ONNX file holds at most 2 GiB
MOST_DISTANCES = 16_000_000  # at once: 64 MB
SMOOTHING = 0.01  # votes that every class has before anybody votes, so that no score is 0 and no logit infinite
ROUNDING = 1e-6  # of a squared length: what a matrix product in float32 may be off by


def knn(model: ModelSettings, size: InputSize, classes: int) -> nn.Module:
    """A classifier that knows no image yet. `model.body` is the net of the features; without it they are pixels."""
    pixels = torch.zeros(1, size.channels, size.height, size.width)
    if model.body is None:
        return NearestNeighbours(nn.Identity(), pixels.flatten(1).byte(), model.neighbours, classes)
    from pupil_training.models import build_net  # which knows this module

    body = without_head(build_net(model.body, size, classes)).eval()
    try:
        with torch.no_grad():
            features = body(pixels).flatten(1)
    except RuntimeError:
        raise RecipeError(f"{model.body.name} makes its logits with more than one layer: it has no features") from None
    return NearestNeighbours(body, features, model.neighbours, classes)


class NearestNeighbours(nn.Module):
    """The share of each class among the nearest known images, as logits whose softmax gives it back."""

    known: Tensor  # (M, D): uint8 pixels or float32 features
    labels: Tensor  # int64 (M,)

    def __init__(self, body: nn.Module, known: Tensor, neighbours: int, classes: int) -> None:
        super().__init__()
        self.body = body
        self.neighbours = neighbours
        self.classes = classes
        self.register_buffer("known", known)
        self.register_buffer("labels", torch.zeros(len(known), dtype=torch.int64))

    def remember(self, known: Tensor, labels: Tensor) -> None:
        """From now on these are the known images: pixels or features (M, D), with their classes (M,).

        Raises RecipeError: fewer images than neighbours, or more than an exported graph can hold.
        """
        kept = known.numel() * known.element_size() + labels.numel() * labels.element_size()
        if kept > MOST_BYTES:
            raise RecipeError(
                f"{len(known):,} images of {known.shape[1]:,} values take {kept:,} bytes, an exported graph holds "
                f"{MOST_BYTES:,}: use fewer (data.labels), smaller ones, or the features of a run (model.features)"
            )
        if len(known) < self.neighbours:
            raise RecipeError(f"model.neighbours = {self.neighbours}, but there are only {len(known)} training images")
        self.known, self.labels = known, labels

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K) of normalised pixels (N, C, H, W)."""
        asked = self.body(x).flatten(1)
        known = self.known.float()
        if self.known.dtype == torch.uint8:
            known = known / 255
        if torch.compiler.is_compiling():  # or exported: a graph has no loop, and whoever runs it chooses the batch
            return self._logits(asked, known)
        rows = max(1, MOST_DISTANCES // len(known))
        return torch.cat([self._logits(part, known) for part in torch.split(asked, rows)])

    def _logits(self, asked: Tensor, known: Tensor) -> Tensor:
        # |a - b|² = |a|² - 2 (a·b - |b|²/2): the nearest have the largest bracket, and |a|² is the same for all
        closeness = asked @ known.T - (known * known).sum(1) / 2  # (N, M)
        least = closeness.topk(min(self.neighbours, len(known))).values[:, -1:]
        # who is as near as the last neighbour votes too, or the order of the images would decide
        tie = ROUNDING * (asked * asked).sum(1, keepdim=True)
        votes = (closeness >= least - tie).float() @ self._one_hot()
        smoothed = votes + SMOOTHING
        return (smoothed / smoothed.sum(1, keepdim=True)).log()

    def _one_hot(self) -> Tensor:
        return (self.labels[:, None] == torch.arange(self.classes, device=self.labels.device)).float()

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *more: Any) -> None:
        """How many images are known is only in the weights, so room is made for them first."""
        for name in ("known", "labels"):
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=self.labels.device))
        super()._load_from_state_dict(state_dict, prefix, *more)
