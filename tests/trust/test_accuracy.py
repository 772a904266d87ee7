import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from pupil_trust import Discordant, mcnemar, wilson_interval


@given(st.integers(1, 5000), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_the_interval_is_scipys(of: int, data: st.DataObject, confidence: float) -> None:
    right = data.draw(st.integers(0, of))
    reference = binomtest(right, of).proportion_ci(confidence, method="wilson")
    assert wilson_interval(right, of, confidence) == pytest.approx((reference.low, reference.high), abs=1e-9)


def test_the_interval_of_nothing_seen_is_everything() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_an_impossible_count_is_refused() -> None:
    with pytest.raises(ValueError, match="5 right of 4"):
        wilson_interval(5, 4)


@given(st.integers(0, 200), st.integers(0, 200))
def test_the_p_value_is_scipys_exact_binomial(only_first: int, only_second: int) -> None:
    count = only_first + only_second
    reference = binomtest(only_first, count, 0.5).pvalue if count else 1.0
    assert Discordant(only_first, only_second).p_value == pytest.approx(reference, rel=1e-9)


def test_two_models_on_eight_images_worked_by_hand() -> None:
    first = np.array([1, 1, 1, 1, 1, 1, 0, 0], dtype=bool)
    second = np.array([1, 0, 0, 0, 0, 0, 1, 0], dtype=bool)
    found = mcnemar(first, second)
    assert found == Discordant(only_first=5, only_second=1)
    # 6 coins that fall 5 to 1 or more unevenly, on either side: 2 · (6 + 1) of 64.
    assert found.p_value == pytest.approx(14 / 64)
    assert mcnemar(second, first).p_value == found.p_value


def test_models_that_are_right_on_the_same_images_do_not_differ() -> None:
    right = np.array([True, False, True])
    assert mcnemar(right, right).p_value == 1.0
    assert Discordant(7, 7).p_value == 1.0


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([True], [True, False], "first has 1 images, second 2"),
        ([1], [True], "first holds int64; true or false"),
        ([True], [[True]], "second has the shape"),
    ],
)
def test_answers_that_cannot_be_compared_are_refused(first: list[bool], second: list[bool], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mcnemar(first, second)
