"""Whether a pool is like the images that a certificate comes from; where it is not, the certificate is withheld."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pupil_client.labelling.evidence import Answers, Verdict

if TYPE_CHECKING:
    from pupil_trust import Shift

LEVEL = 0.001  # of so many honest pools one is refused
DIGITS = 5  # of a confidence: the last ones differ with the batch that an image came in, and many lie near 1


class Withheld(ValueError):
    """The pool is not like the calibration images."""


def require_scipy() -> None:
    """Raises ValueError before the work that would be in vain without it."""
    if find_spec("scipy") is None:
        raise ValueError("a promise takes scipy: pip install 'pupil[trust]', or ask for none")


def require_comparable(calibration: Answers | None, *, allowed: bool) -> None:
    """Before the work: whether the pool can be compared after it. Raises Withheld, ValueError."""
    require_scipy()
    if calibration is None and not allowed:
        raise Withheld(
            "the server is too old to say what its calibration images are like: install a newer one, or go on with "
            "--allow-shift"
        )


def looked_at(verdict: Verdict, calibration: Answers | None, pool: Answers, *, allowed: bool) -> Verdict:
    """The verdict, which says from here on how like the calibration images the pool is.

    Raises Withheld where it is not like them, and nobody allowed that.
    """
    if calibration is None:
        return replace(verdict, about={**verdict.about, "shift_allowed": True})  # unseen, and let through
    if not len(pool.confidence):
        return verdict
    found = _shift(calibration, pool)
    shifted = found.p_value < LEVEL
    if shifted and not allowed:
        raise Withheld(_reason(found, len(pool.confidence)))
    return replace(verdict, about={**verdict.about, "shift_p_value": found.p_value, "shift_allowed": shifted})


def _shift(ours: Answers, theirs: Answers) -> "Shift":
    from pupil_trust import shift_test

    return shift_test(*_arrays(ours), *_arrays(theirs))


def _arrays(answers: Answers) -> tuple[list[float], list[int]]:
    """Confidences, and predicted classes, which the test counts again."""
    return [round(each, DIGITS) for each in answers.confidence], _spread(answers.predicted)


def _spread(counts: Sequence[int]) -> list[int]:
    return [number for number, count in enumerate(counts) for _ in range(count)]


def _reason(found: "Shift", images: int) -> str:
    return (
        f"the certificate is withheld: these {images:,} images are not like the calibration images that it comes from "
        f"(p = {found.confidence:.1g} by the confidences, {found.classes:.1g} by the predicted classes); label a "
        "random sample of them by hand (pupil labels sample draws one), make a certificate from it with pupil certify "
        "and go on with --certificate, or go on with --allow-shift, which the labels file will say"
    )
