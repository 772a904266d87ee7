import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pupil_trust import confidence_sequence, evidence_against


@given(st.integers(0, 12), st.integers(0, 12), st.sampled_from(["1/10", "1/3", "1/2", "9/10"]))
@settings(deadline=None)
def test_the_evidence_is_the_product_of_the_mixtures_bets(events: int, others: int, rate: str) -> None:
    """The chance that the mixture gives the next image is (seen + 1/2) / (all + 1), whatever the order."""
    null, bets = Fraction(rate), Fraction(1)
    for i in range(events):
        bets *= (Fraction(1, 2) + i) / (1 + i) / null
    for i in range(others):
        bets *= (Fraction(1, 2) + i) / (1 + events + i) / (1 - null)
    assert evidence_against(float(null), events, events + others) == pytest.approx(math.log(bets), abs=1e-9)


def test_nothing_seen_leaves_everything_possible() -> None:
    assert confidence_sequence(0, 0, 0.05) == (0.0, 1.0)


def test_the_ends_are_where_the_evidence_is_one_over_delta() -> None:
    low, high = confidence_sequence(30, 1000, 0.05)
    assert 0 < low < 0.03 < high < 0.06
    for end in (low, high):
        assert evidence_against(end, 30, 1000) == pytest.approx(math.log(20), abs=1e-6)


def test_no_event_leaves_zero_possible_and_only_events_one() -> None:
    assert confidence_sequence(0, 500, 0.05)[0] == 0.0
    assert confidence_sequence(500, 500, 0.05)[1] == 1.0


@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_however_often_one_looks_the_true_rate_is_missed_in_at_most_delta_of_the_streams(rate: float) -> None:
    random, streams, delta = np.random.default_rng(1), 400, 0.1
    events = (random.random((streams, 2000)) < rate).cumsum(axis=1)
    limit = math.log(1 / delta)
    missed = sum(
        any(evidence_against(rate, int(seen), of) >= limit for of, seen in enumerate(stream, 1)) for stream in events
    )
    assert missed <= streams * delta + 3 * math.sqrt(streams * delta * (1 - delta))


def test_a_rate_that_doubles_is_noticed() -> None:
    low, _ = confidence_sequence(200, 2000, 0.05)
    assert low > 0.05


def test_more_events_than_images_are_refused() -> None:
    with pytest.raises(ValueError, match="3 events of 2"):
        confidence_sequence(3, 2, 0.05)
