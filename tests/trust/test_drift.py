import math

import numpy as np
import pytest

from pupil_trust import drift_evidence


def test_two_kinds_and_three_images_worked_by_hand() -> None:
    """With Jeffreys' prior: one of kind A is 1/2; A then B is 1/2 · 1/4; together A A B is 1/2 · 3/4 · 1/6."""
    apart = math.log(1 / 2) + math.log(1 / 2 * 1 / 4)
    together = math.log(1 / 2 * 3 / 4 * 1 / 6)
    assert drift_evidence([1, 0], [1, 1]) == pytest.approx(apart - together)


def test_it_does_not_matter_which_of_the_two_is_the_reference() -> None:
    assert drift_evidence([90, 10], [40, 60]) == pytest.approx(drift_evidence([40, 60], [90, 10]))


def test_undisturbed_streams_raise_no_more_false_alarms_than_the_level() -> None:
    """200 streams of 10,000 images, looked at every 100, against references of 2,000 from the same source."""
    random, level = np.random.default_rng(2), 0.05
    false = 0
    for _ in range(200):
        shares = random.dirichlet(np.full(10, 3.0))
        reference = random.multinomial(2000, shares)
        stream = random.multinomial(100, shares, size=100).cumsum(axis=0)
        false += any(drift_evidence(reference, counts) >= math.log(1 / level) for counts in stream)
    assert false <= 200 * level + 3 * math.sqrt(200 * level * (1 - level))


def test_a_source_that_changes_is_noticed_within_a_thousand_images() -> None:
    random = np.random.default_rng(3)
    reference = random.multinomial(2000, np.full(10, 0.1))
    changed = random.multinomial(1000, [0.19] + [0.09] * 9)
    assert drift_evidence(reference, changed) > math.log(20)


@pytest.mark.parametrize("counts", [[1.5, 2], [-1, 3], [4]])
def test_what_is_not_a_count_is_refused(counts: list[float]) -> None:
    with pytest.raises(ValueError, match="counts of at least two kinds"):
        drift_evidence(counts, [1, 2])


def test_other_kinds_than_the_references_are_refused() -> None:
    with pytest.raises(ValueError, match="the same kinds"):
        drift_evidence([1, 2, 3], [1, 2])
