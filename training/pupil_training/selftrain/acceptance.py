"""Which labels of the pool a round accepts, and under what promise."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pupil_training.settings import SelfTrainSettings
from pupil_trust import (
    Calibration,
    Certificate,
    NotCertifiable,
    fdr_accept,
    fixed_certificate,
    no_certificate,
    pac_certificate,
)

Confidences = NDArray[np.float64]

FIXED = 0.95  # the threshold of a round without a promise, where none is set


class Refused(Exception):
    """The round would not help; the text says why."""


def asked_precision(calibration: Calibration, settings: SelfTrainSettings) -> float:
    """`selftrain.precision`, or a quarter of the error that the teacher makes on the calibration set.

    A promise no stricter than the teacher itself accepts everything, and teaches nothing. One error is assumed
    where none was seen.
    """
    if settings.precision is not None:
        return settings.precision
    wrong = max(1, int((~calibration.correct).sum()))
    return 1 - wrong / max(calibration.images, 1) / 4


def certify(calibration: Calibration, pool: Confidences, settings: SelfTrainSettings, fingerprint: str) -> Certificate:
    """The threshold for a pool's confidences (M,), with the promise that `selftrain.guarantee` names.

    `delta` is divided by the number of rounds, so that their promises hold together; only approximately, since
    later teachers depend on the calibration set through what earlier ones accepted. `selftrain.threshold`, where
    set, is a floor under a PAC threshold: testing ends there, which keeps the promise.

    Raises Refused where nothing can be certified, or the promise selects nothing.
    """
    if settings.guarantee == "none":
        return no_certificate(calibration, fingerprint=fingerprint)
    if settings.guarantee == "fixed":
        threshold = FIXED if settings.threshold is None else settings.threshold
        return fixed_certificate(calibration, threshold=threshold, fingerprint=fingerprint)
    try:
        certificate = _promised(calibration, pool, settings, fingerprint)
    except NotCertifiable as error:
        raise Refused(f"{error}; ask for less with selftrain.precision, or calibrate with more images") from None
    if certificate.threshold <= pool.min():
        raise Refused(
            f"precision {certificate.precision:.10g} accepts the whole pool, as the teacher keeps it anyway: its "
            f"student would learn nothing new; ask for {1 - (1 - certificate.precision) / 4:.10g}"
        )
    return certificate


def _promised(
    calibration: Calibration, pool: Confidences, settings: SelfTrainSettings, fingerprint: str
) -> Certificate:
    precision = asked_precision(calibration, settings)
    if settings.guarantee == "fdr":
        return fdr_accept(calibration, pool, precision=precision, fingerprint=fingerprint)[1]
    evidence, delta = _above(settings.threshold, calibration), settings.delta / settings.rounds
    return pac_certificate(evidence, precision=precision, delta=delta, fingerprint=fingerprint)


def _above(floor: float | None, calibration: Calibration) -> Calibration:
    """The same evidence, its grid ending at the floor."""
    if floor is None:
        return calibration
    grid = calibration.grid[calibration.grid >= floor]
    if not len(grid):
        raise Refused(f"no image of the pool reaches the confidence {floor:g} (selftrain.threshold)")
    return replace(calibration, grid=grid)
