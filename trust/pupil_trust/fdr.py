"""Labels of one pool, of which at most a given share is wrong in expectation: conformal labelling.

Cheaper than a certificate of pac.py, since every calibration image counts, but a single run may exceed the
share: only its mean over calibration sets keeps it.
"""

import math
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pupil_trust.arrays import confidences, share
from pupil_trust.calibration import Calibration
from pupil_trust.certificates import Certificate, NotCertifiable, certificate

ABOVE_ALL = 2.0  # no confidence reaches it


def needed_for_fdr(precision: float) -> int:
    """The fewest calibration images with which `precision` can be kept in expectation, if none were wrong."""
    return math.ceil(1 / _wrong_share(precision)) - 1


def fdr_threshold(calibration: Calibration, pool_confidence: ArrayLike, *, precision: float) -> float:
    """The least accepted confidence of the pool (M,), or 2 where nothing is accepted.

    An image's p-value is (1 + how many wrong calibration images are at least as sure) / (N + 1); the accepted
    ones are those of Benjamini and Hochberg at 1 - `precision` (Jin and Candès 2023, Selection by Prediction
    with Conformal p-values, algorithm 1). Ties go together, on the safe side.

    Raises NotCertifiable where N is too small to accept anything, whatever the labels.
    """
    pool = np.sort(confidences(pool_confidence, "pool confidence"))[::-1]
    if calibration.images < needed_for_fdr(precision):
        raise NotCertifiable(
            f"precision {precision} in expectation needs at least {needed_for_fdr(precision)} calibration images, "
            f"has {calibration.images}"
        )
    wrong = np.sort(calibration.confidence[~calibration.correct])
    as_sure = len(wrong) - np.searchsorted(wrong, pool, side="left")
    p_values = (1 + as_sure) / (calibration.images + 1)
    rank = np.arange(1, len(pool) + 1)
    passed = np.flatnonzero(p_values <= _wrong_share(precision) * (rank / max(len(pool), 1)))
    return float(pool[passed[-1]]) if len(passed) else ABOVE_ALL


def fdr_accept(
    calibration: Calibration, pool_confidence: ArrayLike, *, precision: float, fingerprint: str
) -> tuple[NDArray[np.bool_], Certificate]:
    """Which images of the pool (M,) to accept, and the certificate of that choice; see fdr_threshold."""
    threshold = fdr_threshold(calibration, pool_confidence, precision=precision)
    accepted = confidences(pool_confidence) >= threshold
    return accepted, certificate("fdr", calibration, threshold, fingerprint=fingerprint, precision=precision)


def _wrong_share(precision: float) -> float:
    # Of the number as it is written: 1 - 0.9 is 0.09999999999999998, and would ask for one more.
    return float(1 - Decimal(str(share(precision, "precision"))))
