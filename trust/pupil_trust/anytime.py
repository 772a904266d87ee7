"""Bounds that hold at every moment at once, so that looking often is honest."""

import math
from collections.abc import Callable

from scipy.special import betaln, xlog1py, xlogy

from pupil_trust.arrays import share

STEPS = 60  # halvings of an interval of length 1: as fine as float64 tells numbers apart


def evidence_against(rate: float, events: int, of: int) -> float:
    """How strongly `events` among `of` images speak against every rate being `rate`, as a logarithm.

    The Beta mixture of likelihood ratios (Robbins 1970): under that rate it is a martingale that begins at 1, so that
    the chance that it ever reaches 1 / delta is at most delta (Ville 1939).
    """
    if not 0 <= events <= of:
        raise ValueError(f"{events} events of {of}; a count and a count at least as large are wanted")
    mixture = betaln(events + 0.5, of - events + 0.5) - betaln(0.5, 0.5)
    return float(mixture - xlogy(events, rate) - xlog1py(of - events, -rate))


def confidence_sequence(events: int, of: int, delta: float) -> tuple[float, float]:
    """The rates that `events` among `of` images leave possible: with probability 1 - delta the true one lies inside
    at every moment of a stream, however often one looks (Howard et al. 2021, section 4).
    """
    enough, seen = -math.log(share(delta, "delta")), events / of if of else 0.5

    def possible(rate: float) -> bool:
        return evidence_against(rate, events, of) < enough

    return _edge(possible, seen, 0.0), _edge(possible, seen, 1.0)


def _edge(possible: Callable[[float], bool], inside: float, end: float) -> float:
    """How far towards `end` rates are possible; the evidence only grows on the way there."""
    if possible(end):
        return end
    for _ in range(STEPS):
        middle = (inside + end) / 2
        inside, end = (middle, end) if possible(middle) else (inside, middle)
    return end
