"""What one run learns from."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pupil_training.data.images import ImageSet
from pupil_training.data.labels import load_pseudo_labels
from pupil_training.data.splits import load_split
from pupil_training.recipe import Recipe


@dataclass(frozen=True)
class TrainingData:
    """Training images of every origin in one tensor, and the validation split."""

    images: Tensor  # uint8 (N, H, W, C)
    targets: Tensor | None  # classes (N,), distributions (N, K), or None: learn from the teacher alone
    validation: ImageSet
    classes: tuple[str, ...]
    sha256: dict[str, str]  # of each split that was read
    counts: dict[str, int]  # images by origin

    @property
    def validation_labels(self) -> Tensor:
        assert self.validation.labels is not None  # every source labels this split
        return self.validation.labels


def gather(recipe: Recipe) -> TrainingData:
    """The training split, with the pool (`distill.pool`) or the accepted pseudo-labels (`labels.file`) if asked for."""
    train = load_split(recipe.data, "train")
    validation = load_split(recipe.data, "validation")
    sha256 = {"train": train.sha256, "validation": validation.sha256}
    counts = {"train": len(train), "validation": len(validation)}
    images, targets = train.images, train.labels
    if recipe.distill.teacher is not None and recipe.distill.pool:
        pool = load_split(recipe.data, "pool")
        images, targets = torch.cat([images, pool.images]), None
        sha256["pool"], counts["pool"] = pool.sha256, len(pool)
    elif recipe.labels.file is not None and targets is not None:
        pseudo = load_pseudo_labels(recipe.labels, recipe.data, train.classes)
        images = torch.cat([images, pseudo.images])
        targets = torch.cat([_like(targets, pseudo.targets, len(train.classes)), pseudo.targets])
        counts["pseudo-labelled"] = len(pseudo.images)
    return TrainingData(images, targets, validation, train.classes, sha256, counts)


def _like(labels: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Hard labels in the form of `targets`."""
    return F.one_hot(labels, classes).to(targets) if targets.ndim == 2 else labels
