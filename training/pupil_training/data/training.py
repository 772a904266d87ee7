"""What one run learns from."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pupil_training.data.feed import Cut, Feed
from pupil_training.data.images import ImageSet
from pupil_training.data.labels import load_pseudo_labels
from pupil_training.data.splits import load_split
from pupil_training.errors import RecipeError
from pupil_training.recipe import Recipe


@dataclass(frozen=True)
class TrainingData:
    """Training images of every origin in one tensor, the pool where it teaches too, and the validation split."""

    images: Tensor  # uint8 (N, H, W, C)
    targets: Tensor | None  # classes (N,), distributions (N, K), or None: learn from the teacher alone
    pool: Tensor | None  # uint8 (M, H, W, C)
    validation: ImageSet
    classes: tuple[str, ...]
    sha256: dict[str, str]  # of each split that was read
    counts: dict[str, int]  # images by origin

    @property
    def validation_labels(self) -> Tensor:
        assert self.validation.labels is not None  # every source labels this split
        return self.validation.labels

    def feed(self, recipe: Recipe, cut: Cut, device: torch.device) -> Feed:
        """The batches of the run. Raises RecipeError where pairs are mixed and a process's share is odd."""
        share = cut.share(recipe.batch_size)
        if recipe.augment.mixes and share % 2:
            raise RecipeError(
                f"mixup and cutmix mix pairs, but a batch of {recipe.batch_size} leaves {share} images to a process "
                "at once: give it an even share"
            )
        targets = None if self.targets is None else self.targets.to(device)
        return Feed(self.images.to(device), targets, recipe.batch_size, seed=recipe.seed, cut=cut)

    def pool_feed(self, recipe: Recipe, cut: Cut, device: torch.device) -> Feed:
        """The pool's batches that go with them."""
        assert self.pool is not None  # gathered for every pool.method
        images = self.pool.to(device)
        return Feed(images, None, recipe.pool.batch_size, seed=recipe.seed, stream="pool order", cut=cut)


def gather(recipe: Recipe) -> TrainingData:
    """The training split, with the pool or the accepted pseudo-labels if asked for."""
    train = load_split(recipe.data, "train")
    validation = load_split(recipe.data, "validation")
    sha256 = {"train": train.sha256, "validation": validation.sha256}
    counts = {"train": len(train), "validation": len(validation)}
    images, targets, pool = train.images, train.labels, None
    if (recipe.distill.teacher and recipe.distill.pool) or recipe.pool.method != "none":
        unlabelled = load_split(recipe.data, "pool")
        sha256["pool"], counts["pool"] = unlabelled.sha256, len(unlabelled)
        if recipe.pool.method == "none":
            images, targets = torch.cat([images, unlabelled.images]), None
        else:
            pool = unlabelled.images
    elif recipe.labels.file is not None and targets is not None:
        pseudo = load_pseudo_labels(recipe.labels, recipe.data, train.classes)
        images = torch.cat([images, pseudo.images])
        targets = torch.cat([_like(targets, pseudo.targets, len(train.classes)), pseudo.targets])
        counts["pseudo-labelled"] = len(pseudo.images)
    if recipe.augment.mixes and targets is not None and targets.ndim == 1:
        targets = F.one_hot(targets, len(train.classes)).float()
    return TrainingData(images, targets, pool, validation, train.classes, sha256, counts)


def _like(labels: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Hard labels in the form of `targets`."""
    return F.one_hot(labels, classes).to(targets) if targets.ndim == 2 else labels
