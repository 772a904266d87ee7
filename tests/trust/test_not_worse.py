import math

import numpy as np
import pytest

from pupil_trust import evidence_not_worse, is_not_worse, needed_for_not_worse

MARGIN, DELTA = 0.02, 0.05


@pytest.mark.parametrize("only_new", [0.0, 0.02, 0.2])
@pytest.mark.parametrize("looks", [1, 10])
def test_a_model_that_is_worse_by_the_margin_passes_in_at_most_delta_of_the_runs(only_new, looks):
    """Simulated at the edge of the claim, whatever the share of images on which the two differ; also when looked at
    ten times on the way, and stopped at the first yes."""
    random = np.random.default_rng(1)
    runs, images = 300, 2000
    each = random.multinomial(images // looks, [only_new + MARGIN, only_new, 1 - 2 * only_new - MARGIN], (runs, looks))
    counts = each.cumsum(axis=1)
    passed = [
        any(is_not_worse(int(old), int(new), int(old + new + same), margin=MARGIN, delta=DELTA)
            for old, new, same in run)
        for run in counts
    ]  # fmt: skip
    assert np.mean(passed) <= DELTA + 3 * math.sqrt(DELTA * (1 - DELTA) / runs)


@pytest.mark.parametrize(("differ", "least"), [(0.0, 1.0), (0.01, 0.95), (0.04, 0.5)])
def test_an_equal_model_mostly_passes_with_two_thousand_images(differ, least):
    random = np.random.default_rng(2)
    counts = random.multinomial(2000, [differ / 2, differ / 2, 1 - differ], 200)
    passed = [is_not_worse(int(old), int(new), 2000, margin=MARGIN, delta=DELTA) for old, new, _ in counts]
    assert np.mean(passed) >= least


def test_the_capital_is_worked_out_by_hand_image_by_image():
    stakes = [number / 100 / 0.5 for number in range(1, 100)]
    capital = [1.0] * 99
    for loss in (0, 1, 0, -1, 0):
        capital = [have * (1 + stake * (0.5 - loss)) for have, stake in zip(capital, stakes, strict=True)]
    assert evidence_not_worse(1, 1, 5, 0.5) == pytest.approx(math.log(sum(capital) / 99))


def test_fewer_images_than_needed_are_not_enough_and_those_are():
    for only_old, only_new in ((0, 0), (3, 1), (1, 5)):
        least = needed_for_not_worse(MARGIN, DELTA, only_old, only_new)
        assert is_not_worse(only_old, only_new, least, margin=MARGIN, delta=DELTA)
        assert not is_not_worse(only_old, only_new, least - 1, margin=MARGIN, delta=DELTA)
    assert needed_for_not_worse(MARGIN, DELTA) >= math.log(DELTA) / math.log(1 - MARGIN)  # what any test would take


def test_a_better_model_passes_sooner_and_a_worse_one_later():
    better, equal, worse = (needed_for_not_worse(MARGIN, DELTA, *counts) for counts in ((2, 8), (5, 5), (8, 2)))
    assert better < equal < worse


def test_counts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="counts that fit together"):
        evidence_not_worse(3, 3, 5, 0.1)
    with pytest.raises(ValueError, match="margin"):
        evidence_not_worse(1, 1, 5, 0.0)
