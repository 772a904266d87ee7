"""A teacher's labels for the whole pool, written as a labels file, and what is known about them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pupil_training.augment import Views
from pupil_training.data import ImageSet, Splits, load_split
from pupil_training.data.feed import Batch
from pupil_training.data.images import batch_for
from pupil_training.evaluate import logits_of
from pupil_training.files import written_whole
from pupil_training.models import Classifier
from pupil_training.recipe import Recipe
from pupil_training.runs import Run
from pupil_training.seeds import seed_everything
from pupil_training.selftrain.acceptance import certify
from pupil_trust import Calibration, Certificate, pool_grid


@dataclass(frozen=True)
class Labelled:
    """One round's labels of a pool of M images."""

    certificate: Certificate
    accepted: NDArray[np.bool_]  # (M,)
    labels: NDArray[np.int64]  # (M,)
    scores: NDArray[np.float64]  # (M, K), calibrated

    def facts(self, classes: tuple[str, ...], truth: NDArray[np.int64] | None) -> dict[str, Any]:
        """The certificate, what was accepted of each class, and how much of it is right where that is known."""
        counts = np.bincount(self.labels[self.accepted], minlength=len(classes)).tolist()
        facts = {
            "certificate": self.certificate.to_dict(),
            "pool": len(self.labels),
            "accepted": int(self.accepted.sum()),
            "accepted_of_each_class": dict(zip(classes, counts, strict=True)),
        }
        if truth is None:
            return facts
        right = int((self.labels == truth)[self.accepted].sum())
        return {**facts, "truly": {"right": right, "of": facts["accepted"]}}


def label_pool(teacher: Run, recipe: Recipe, fingerprint: str) -> tuple[Labelled, ImageSet]:
    """The pool under the teacher's promise. Raises Refused where the round would not help."""
    pool = load_split(recipe.data, "pool")
    scores = _scores(teacher.model, _noised(teacher, recipe, pool.images) if recipe.selftrain.noised_teacher else
                     logits_of(teacher.model, pool.images))  # fmt: skip
    confidence = scores.max(axis=1)
    evidence = _evidence(teacher, recipe, confidence)
    certificate = certify(evidence, confidence, recipe.selftrain, fingerprint)
    return Labelled(certificate, confidence >= certificate.threshold, scores.argmax(axis=1), scores), pool


def write_labels(file: Path, labelled: Labelled, pool: ImageSet) -> None:
    """The labels file of docs/files.md, one row an image of the pool, found again by its SHA-256."""
    with written_whole(file) as lines:
        for i, digest in enumerate(pool.digests):
            row: dict[str, Any] = {"image": f"pool/{i}", "sha256": digest, "label": pool.classes[labelled.labels[i]]}
            row |= {"confidence": float(labelled.scores[i].max()), "accepted": bool(labelled.accepted[i])}
            row["scores"] = labelled.scores[i].tolist()
            if i == 0:
                row |= {"classes": list(pool.classes), "certificate": labelled.certificate.to_dict()}
            lines.write((json.dumps(row, ensure_ascii=False) + "\n").encode())


def true_labels(recipe: Recipe) -> NDArray[np.int64] | None:
    """The pool's labels where somebody knows them: to judge a round, never to learn from."""
    return Splits(recipe.data).hidden_labels()


def _evidence(teacher: Run, recipe: Recipe, pool_confidence: NDArray[np.float64]) -> Calibration:
    """The teacher's answers on the calibration set; on nothing where a promise was not asked for."""
    grid = pool_grid(pool_confidence)
    if recipe.selftrain.guarantee not in ("pac", "fdr"):
        return Calibration(np.zeros(0), np.zeros(0, dtype=np.bool_), grid)
    calibration = load_split(recipe.data, "calibration")
    assert calibration.labels is not None  # every source labels this split
    scores = _scores(teacher.model, logits_of(teacher.model, calibration.images))
    return Calibration(scores.max(axis=1), scores.argmax(axis=1) == calibration.labels.numpy(), grid)


def _scores(model: Classifier, logits: Tensor) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = (logits.double() / model.temperature.double()).softmax(1).numpy()
    return scores


@torch.no_grad()
def _noised(teacher: Run, recipe: Recipe, images: Tensor) -> Tensor:
    """Logits (M, K) of augmented pictures with dropout: what Noisy Student's teacher must not do (its table 6)."""
    seed_everything(recipe.seed)
    views = Views(recipe.augment, recipe.seed, "noised teacher")
    for layer in teacher.model.modules():
        layer.training = isinstance(layer, torch.nn.modules.dropout._DropoutNd)
    logits = []
    for places in torch.split(torch.arange(len(images)), batch_for(images)):
        batch = Batch(0, 0, images[places], None, places, torch.zeros(len(places), dtype=torch.int64))
        logits.append(teacher.model(views(batch)))
    teacher.model.eval()
    return torch.cat(logits)
