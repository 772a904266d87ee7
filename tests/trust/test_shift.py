import numpy as np
import pytest
from scipy.stats import chi2

from pupil_trust import shift_test


def test_one_source_is_let_through_and_p_values_are_even() -> None:
    random = np.random.default_rng(0)
    found = [
        shift_test(random.random(300), random.integers(0, 5, 300), random.random(900), random.integers(0, 5, 900))
        for _ in range(200)
    ]
    below = [np.mean([each.p_value < 0.1 for each in found]), np.mean([each.classes < 0.5 for each in found])]
    assert below[0] < 0.17
    assert 0.38 < below[1] < 0.62


def test_less_sure_answers_are_noticed() -> None:
    random = np.random.default_rng(1)
    classes = random.integers(0, 5, 1000)
    found = shift_test(random.beta(9, 1, 1000), classes, random.beta(5, 1, 1000), classes)
    assert found.confidence < 1e-3
    assert found.classes == pytest.approx(1.0)
    assert found.p_value == pytest.approx(2 * found.confidence)


def test_other_shares_of_the_classes_are_noticed_by_chi_squared() -> None:
    """60 and 40 against 40 and 60: every cell is 10 off 50, so the statistic is 4 · 100 / 50 = 8, less Yates."""
    ours, theirs = np.repeat([0, 1], [60, 40]), np.repeat([0, 1], [40, 60])
    found = shift_test(np.full(100, 0.9), ours, np.full(100, 0.9), theirs)
    assert found.classes == pytest.approx(float(chi2.sf(4 * 9.5**2 / 50, 1)))


def test_a_class_that_neither_predicts_does_not_count() -> None:
    same = np.array([0, 3, 3, 0])
    assert shift_test(np.ones(4), same, np.ones(4), same).classes == 1.0
    assert shift_test(np.ones(2), [3, 3], np.ones(2), [3, 3]).classes == 1.0


def test_an_empty_pool_and_ill_shaped_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="0 of the pool"):
        shift_test([0.5], [0], [], [])
    with pytest.raises(ValueError, match="2 whole numbers are wanted"):
        shift_test([0.5, 0.5], [0], [0.5], [1])
