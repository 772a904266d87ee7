"""The FDR promise: which confidences of a whole pool to accept, without the calibration set at hand.

Benjamini and Hochberg need of the calibration set only how many of its images at or above a confidence are wrong.
The server says that of any threshold, so the pool is ranked here, whatever its size, once all of it is labelled.
`pupil_trust.fdr_threshold` is the same with the calibration set at hand.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cache

from pupil_client.labelling.promise import ABOVE_ALL
from pupil_client.results import Certificate


def fdr_certificate(
    confidences: Sequence[float], *, precision: float, certificate_at: Callable[[float], Certificate]
) -> Certificate:
    """The loosest threshold that keeps `precision` in expectation over this pool; above all where none does."""
    ranked = sorted(confidences, reverse=True)

    @cache
    def wrong(rank: int) -> int:
        return certificate_at(ranked[rank - 1]).wrong

    images = certificate_at(1.0).calibration
    rank = _last_rank(len(ranked), images, float(1 - Decimal(str(precision))), wrong)
    found = certificate_at(ranked[rank - 1] if rank else 1.0)
    promise = replace(found, guarantee="fdr", precision=precision, delta=1.0, p_value=1.0)
    return promise if rank else replace(promise, threshold=ABOVE_ALL, accepted=0, wrong=0, coverage=0.0)


def _last_rank(pool: int, images: int, wrong_share: float, wrong: Callable[[int], int]) -> int:
    """The last of the ranks 1 to `pool` that passes, 0 where none does; few of them are looked at.

    `wrong` never falls with the rank, and what may be wrong never rises towards the better ranks. So whoever passes
    before a rank that failed has no more wrong than that one was allowed.
    """

    def passes(rank: int, wrong_ones: int) -> bool:
        return (1 + wrong_ones) / (images + 1) <= wrong_share * (rank / pool)

    rank = pool
    while rank and not passes(rank, wrong(rank)):
        allowed = next((count for count in range(wrong(rank) - 1, -1, -1) if passes(rank, count)), -1)
        rank = bisect_right(range(1, rank), allowed, key=wrong)
    return rank
