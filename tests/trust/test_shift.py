import math
from fractions import Fraction
from itertools import product

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


def test_an_honest_pool_of_many_classes_most_of_them_rare_is_let_through() -> None:
    """A plain chi-squared test takes every fifth of these for another source."""
    random = np.random.default_rng(2)
    shares = 1 / np.arange(1, 1001) ** 2
    draws = [[random.choice(1000, images, p=shares / shares.sum()) for images in (1000, 20_000)] for _ in range(150)]
    found = [shift_test(np.ones(1000), ours, np.ones(20_000), theirs).classes for ours, theirs in draws]
    assert sum(p < 0.001 for p in found) <= 2
    assert 0.3 < np.mean([p < 0.5 for p in found]) < 0.7


@pytest.mark.parametrize("ours", [(5, 0, 0, 0), (1, 1, 1, 2), (0, 4, 0, 1), (2, 1, 1, 1)])
def test_of_few_images_the_p_value_is_the_share_of_divisions_that_are_as_uneven(ours: tuple[int, ...]) -> None:
    """Counted out: all ways to draw 5 of 20 images, of which 11, 4, 3 and 2 are of one class."""
    totals = (11, 4, 3, 2)
    ways = dict[tuple[int, ...], int]()
    for drawn in product(*(range(1 + total) for total in totals)):
        if sum(drawn) == 5:
            ways[drawn] = math.prod(map(math.comb, totals, drawn))

    def uneven(drawn: tuple[int, ...]) -> Fraction:
        expected = [Fraction(total, 4) for total in totals]
        return sum(((a - b) ** 2 / b for a, b in zip(drawn, expected, strict=True)), Fraction(0))

    exact = sum(count for drawn, count in ways.items() if uneven(drawn) >= uneven(ours)) / math.comb(20, 5)
    theirs = [total - mine for total, mine in zip(totals, ours, strict=True)]
    found = shift_test(np.ones(5), np.repeat(range(4), ours), np.ones(15), np.repeat(range(4), theirs)).classes
    assert found == pytest.approx(exact, rel=1.0)  # of rare ones few are drawn
    assert found == pytest.approx(exact, abs=0.15)


def test_a_small_pool_of_one_class_is_noticed() -> None:
    ours = np.random.default_rng(4).integers(0, 8, 400)
    assert shift_test(np.ones(400), ours, np.ones(10), np.full(10, 3)).classes < 0.0005


def test_a_class_that_calibration_hardly_knows_and_the_pool_is_full_of_is_noticed() -> None:
    random = np.random.default_rng(3)
    ours, theirs = random.integers(0, 1000, 1000), random.integers(0, 1000, 5000)
    assert shift_test(np.ones(1000), ours, np.ones(5000), theirs).classes > 0.001
    assert shift_test(np.ones(1000), ours, np.ones(5000), np.where(theirs < 100, 7, theirs)).classes < 0.0005


def test_a_class_that_neither_predicts_does_not_count() -> None:
    same = np.array([0, 3, 3, 0])
    assert shift_test(np.ones(4), same, np.ones(4), same).classes == 1.0
    assert shift_test(np.ones(2), [3, 3], np.ones(2), [3, 3]).classes == 1.0


def test_an_empty_pool_and_ill_shaped_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="0 of the pool"):
        shift_test([0.5], [0], [], [])
    with pytest.raises(ValueError, match="2 whole numbers are wanted"):
        shift_test([0.5, 0.5], [0], [0.5], [1])
