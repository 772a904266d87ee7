"""Promises for each class apart: of the labels "cat" at least so many are right, and of the labels "dog" as well."""

from dataclasses import replace

from numpy.typing import ArrayLike

from pupil_trust.arrays import places_in
from pupil_trust.calibration import Calibration
from pupil_trust.certificates import Certificate, NotCertifiable
from pupil_trust.pac import pac_certificate


def per_class_certificates(
    calibration: Calibration, predicted: ArrayLike, classes: int, *, precision: float, delta: float, fingerprint: str
) -> list[Certificate | NotCertifiable]:
    """For each class the certificate of the images that are predicted to be of it, or why there is none.

    All of them hold together with probability 1 - `delta`, since each is tested at `delta` / `classes` (Bonferroni):
    with ten classes, precision 0.95 and delta 0.1 that takes 90 accepted images a class without an error.
    `predicted` (N,) are whole numbers below `classes`.
    """
    of_image = places_in(predicted, calibration.images, classes)
    found: list[Certificate | NotCertifiable] = []
    for number in range(classes):
        of_class = of_image == number
        images = replace(
            calibration, confidence=calibration.confidence[of_class], correct=calibration.correct[of_class]
        )
        try:
            found.append(pac_certificate(images, precision=precision, delta=delta / classes, fingerprint=fingerprint))
        except NotCertifiable as reason:
            found.append(reason)
    return found
