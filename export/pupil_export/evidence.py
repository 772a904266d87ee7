"""What a bundle knows about its own graph: accuracy, calibration, certificates."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from pupil_export.answers import Answers, OnnxModel
from pupil_export.errors import ExportError
from pupil_training.data import ImageSet
from pupil_training.runs import Run
from pupil_trust import (
    Calibration,
    NotCertifiable,
    expected_calibration_error,
    fixed_grid,
    negative_log_likelihood,
    pac_certificate,
    pool_grid,
)

PRECISIONS = (0.90, 0.95, 0.98, 0.99, 0.995)
DELTA = 0.05


def split_if_any(run: Run, split: str) -> ImageSet | None:
    """The calibration, test or pool split of the run's data, or None where there is none."""
    data = run.recipe.data
    cut_out = {"calibration": data.calibration > 0, "pool": data.pool > 0, "test": data.source == "mnist"}
    return run.load_split(split) if cut_out[split] or (data.root / split).is_dir() else None


def check_unchanged(run: Run, split: str, images: ImageSet) -> None:
    """ExportError where a split is not what the run was trained with: what is cut out of it would not be new then."""
    if run.result["data"][split] != images.sha256:
        raise ExportError(
            f"{run.recipe.data.root}: its {split} images changed since {run.folder} was trained; "
            "put them back, or train again"
        )


def accuracy(answers: Answers, labels: NDArray[np.int64]) -> dict[str, int]:
    """How many images are right, of how many."""
    return {"right": int((answers.predicted == labels).sum()), "of": len(labels)}


def honesty(answers: Answers, labels: NDArray[np.int64], temperature: float) -> dict[str, float]:
    """Calibration error and negative log-likelihood, with the temperature and without it."""
    plain = softmax(answers.logits.astype(np.float64), axis=1)
    correct = answers.predicted == labels
    return {
        "ece": expected_calibration_error(answers.confidence, correct),
        "ece_uncalibrated": expected_calibration_error(plain.max(axis=1), correct),
        "nll": negative_log_likelihood(answers.logits, labels, temperature),
        "nll_uncalibrated": negative_log_likelihood(answers.logits, labels),
    }


def calibration_answers(model: OnnxModel, calibration: ImageSet, pool: ImageSet | None) -> dict[str, Any]:
    """The content of calibration.json."""
    answers = model(calibration.images.numpy())
    grid = fixed_grid() if pool is None else pool_grid(model(pool.images.numpy()).confidence)
    return {
        "sha256": calibration.sha256,
        "confidence": answers.confidence.tolist(),
        "predicted": answers.predicted.tolist(),
        "label": labels_of(calibration).tolist(),
        "grid": grid.tolist(),
        "grid_from": "fixed" if pool is None else "pool",
    }


def certificates(calibration: dict[str, Any]) -> list[dict[str, Any]]:
    """The PAC certificates at the usual precisions that a calibration.json carries.

    Their `fingerprint` is empty and means the bundle that they lie in, whose own fingerprint covers them.
    """
    correct = np.array(calibration["predicted"]) == np.array(calibration["label"])
    evidence = Calibration(np.array(calibration["confidence"]), correct, np.array(calibration["grid"]))
    found = []
    for precision in PRECISIONS:
        try:
            certificate = pac_certificate(evidence, precision=precision, delta=DELTA, fingerprint="")
        except NotCertifiable:
            continue
        found.append(certificate.to_dict())
    return found


def labels_of(images: ImageSet) -> NDArray[np.int64]:
    """The labels (N,) of a labelled split."""
    assert images.labels is not None  # only the pool has none
    labels: NDArray[np.int64] = images.labels.numpy()
    return labels
