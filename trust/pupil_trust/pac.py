"""Certificates that hold with probability 1 - delta over calibration sets.

The promise: at least `precision` of the labels accepted at the threshold are right. It takes a calibration set
that was used for nothing else, from the same source as the images to be labelled. It says nothing about images
of no known class, about one class alone, or about another model than the one with its fingerprint.
"""

from scipy.special import betainc

from pupil_trust.arrays import share
from pupil_trust.calibration import Calibration
from pupil_trust.certificates import Certificate, NotCertifiable, certificate


def p_value(wrong: int, accepted: int, precision: float) -> float:
    """P(Bin(accepted, 1 - precision) <= wrong): how likely so few are wrong where the promise is just broken.

    The exact binomial tail, for counts the tightest of the tests; 1 where no image is right.
    """
    right = accepted - wrong
    # As P(Bin(accepted, precision) >= right), which spares 1 - precision its rounding; bdtrc counts to 2^31 at most.
    return float(betainc(right, wrong + 1, precision)) if right > 0 else 1.0


def needed_images(precision: float, delta: float, wrong: int = 0) -> int:
    """The fewest accepted calibration images, `wrong` of them wrong, that certify `precision` at `delta`."""
    share(precision, "precision")
    share(delta, "delta")
    too_few, enough = wrong, 2 * wrong + 1
    while p_value(wrong, enough, precision) > delta:
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if p_value(wrong, middle, precision) > delta:
            too_few = middle
        else:
            enough = middle
    return enough


def pac_certificate(calibration: Calibration, *, precision: float, delta: float, fingerprint: str) -> Certificate:
    """The loosest threshold that gives `precision` with probability 1 - `delta` over calibration sets.

    Fixed-sequence testing (Angelopoulos et al. 2021, Learn then Test, section 2.3): thresholds strict to loose,
    each tested at the full `delta`, up to the first that fails. All that passed hold at once.

    Raises NotCertifiable, with what it would take.
    """
    least = needed_images(precision, delta)
    last: Certificate | None = None
    for threshold in calibration.grid.tolist():
        accepted, wrong = calibration.counts(threshold)
        if accepted < least:
            continue  # could not pass even without an error; judged by the count alone, so the level holds
        p = p_value(wrong, accepted, precision)
        if p > delta:
            if last is None:
                raise NotCertifiable(_strictest_failed(precision, delta, threshold, accepted, wrong))
            break
        last = certificate(
            "pac", calibration, threshold, fingerprint=fingerprint, precision=precision, delta=delta, p_value=p
        )
    if last is None:
        accepted, _ = calibration.counts(float(calibration.grid[-1]))
        raise NotCertifiable(
            f"precision {precision} at delta {delta:g} needs at least {least} accepted calibration images "
            f"without an error, has {accepted}"
        )
    return last


def _strictest_failed(precision: float, delta: float, threshold: float, accepted: int, wrong: int) -> str:
    return (
        f"precision {precision} at delta {delta:g} needs at least {needed_images(precision, delta, wrong)} accepted "
        f"calibration images with {wrong} wrong, has {accepted} with {wrong} wrong at confidence {threshold:.6g}, "
        "the strictest that can be tested; ask for less, or calibrate with more images"
    )
