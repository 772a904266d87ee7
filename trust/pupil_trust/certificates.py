"""A threshold with its promise, and the two kinds that promise nothing."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from pupil_trust.calibration import Calibration

Guarantee = Literal["pac", "fdr", "fixed", "none"]


class NotCertifiable(ValueError):
    """The calibration set cannot carry the promise; the text says what it would take."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A threshold together with the promise that it carries and the counts that prove it.

    Accepted is confidence >= `threshold`. Of `calibration` labelled images, `accepted` lie there, a share of
    `coverage`, and `wrong` of those are wrong. What a guarantee does not promise is idle: `precision` 0,
    `delta` 1, `p_value` 1.
    """

    guarantee: Guarantee
    precision: float
    delta: float
    threshold: float
    calibration: int
    accepted: int
    wrong: int
    p_value: float
    coverage: float
    fingerprint: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """The certificate that `to_dict` wrote; other keys are ignored. ValueError where one is missing."""
        missing = [field.name for field in fields(cls) if field.name not in plain]
        if missing:
            raise ValueError(f"the certificate lacks {', '.join(missing)}")
        if plain["guarantee"] not in get_args(Guarantee):
            raise ValueError(f"guarantee {plain['guarantee']!r}; one of {', '.join(get_args(Guarantee))} is wanted")
        return cls(**{field.name: plain[field.name] for field in fields(cls)})


def certificate(
    guarantee: Guarantee,
    calibration: Calibration | None,
    threshold: float,
    *,
    fingerprint: str,
    precision: float = 0.0,
    delta: float = 1.0,
    p_value: float = 1.0,
) -> Certificate:
    """The record of a choice, with the counts that the calibration set gives at its threshold (0 without one)."""
    images, accepted, wrong = 0, 0, 0
    if calibration is not None:
        images, (accepted, wrong) = calibration.images, calibration.counts(threshold)
    return Certificate(
        guarantee=guarantee,
        precision=precision,
        delta=delta,
        threshold=threshold,
        calibration=images,
        accepted=accepted,
        wrong=wrong,
        p_value=p_value,
        coverage=accepted / images if images else 0.0,
        fingerprint=fingerprint,
    )


def fixed_certificate(calibration: Calibration | None, *, threshold: float, fingerprint: str) -> Certificate:
    """Accept at `threshold`, promising nothing. ValueError unless it lies from 0 to 1."""
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold is {threshold}; a confidence from 0 to 1 is wanted")
    return certificate("fixed", calibration, threshold, fingerprint=fingerprint)


def no_certificate(calibration: Calibration | None, *, fingerprint: str) -> Certificate:
    """Accept everything, promising nothing."""
    return certificate("none", calibration, 0.0, fingerprint=fingerprint)


def promise_is_idle(calibration: Calibration, *, precision: float) -> bool:
    """Whether the model keeps the promise on its calibration set by accepting everything.

    Then the certificate selects nothing, and self-training learns nothing from it: ask for more.
    """
    return calibration.images > 0 and int(calibration.correct.sum()) >= precision * calibration.images
