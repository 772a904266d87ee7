"""What a bundle knows about its own graph: accuracy, calibration, certificates."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from pupil_export.answers import Answering, Answers
from pupil_export.splits import labels_of
from pupil_training.data import ImageSet
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
ENOUGH = 56  # rows and columns: of a larger image so many are looked at, as a server does


def measure(model: Answering, splits: Mapping[str, ImageSet], temperature: float) -> dict[str, Any]:
    """`metrics` and `calibration_error` of bundle.json; the latter on test images, or else on validation's."""
    facts: dict[str, Any] = {"metrics": {}}
    for split in ("validation", "test"):
        if split in splits:
            answers, labels = model(splits[split].images.numpy()), labels_of(splits[split])
            facts["metrics"][f"{split}_accuracy"] = _accuracy(answers, labels)
            facts["calibration_error"] = {"split": split, "of": len(labels), **_honesty(answers, labels, temperature)}
    return facts


def calibration_answers(model: Answering, calibration: ImageSet, pool: ImageSet | None) -> dict[str, Any]:
    """The content of calibration.json."""
    pixels = calibration.images.numpy()
    answers, step = model(pixels), max(1, min(pixels.shape[1:3]) // ENOUGH)
    looked_at = pixels[:, ::step, ::step]
    grid = fixed_grid() if pool is None else pool_grid(model(pool.images.numpy()).confidence)
    return {
        "sha256": calibration.sha256,
        "confidence": answers.confidence.tolist(),
        "predicted": answers.predicted.tolist(),
        "energy": logsumexp(answers.logits.astype(np.float64), axis=1).tolist(),
        "label": labels_of(calibration).tolist(),
        "brightness": [float(image.mean()) / 255 for image in looked_at],
        "contrast": [float(image.std()) / 255 for image in looked_at],
        "grid": grid.tolist(),
        "grid_from": "fixed" if pool is None else "pool",
    }


def certificates(calibration: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The PAC certificates at the usual precisions that a calibration.json carries.

    Their `fingerprint` is empty and means the bundle that they lie in: its fingerprint covers them.
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


def _accuracy(answers: Answers, labels: NDArray[np.int64]) -> dict[str, int]:
    return {"right": int((answers.predicted == labels).sum()), "of": len(labels)}


def _honesty(answers: Answers, labels: NDArray[np.int64], temperature: float) -> dict[str, float]:
    plain = softmax(answers.logits.astype(np.float64), axis=1)
    correct = answers.predicted == labels
    return {
        "ece": expected_calibration_error(answers.confidence, correct),
        "ece_uncalibrated": expected_calibration_error(plain.max(axis=1), correct),
        "nll": negative_log_likelihood(answers.logits, labels, temperature),
        "nll_uncalibrated": negative_log_likelihood(answers.logits, labels),
    }
