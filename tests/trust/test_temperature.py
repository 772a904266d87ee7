import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pupil_trust import fit_temperature, negative_log_likelihood


def sampled(seed: int, images: int = 4000, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is the true distribution of the labels."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(images, classes))
    gumbel = random.gumbel(size=logits.shape)  # the largest of logits + gumbel is a draw from their softmax
    return logits, (logits + gumbel).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    logits, labels = sampled(0)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)


def test_no_temperature_of_a_fine_grid_is_better() -> None:
    logits, labels = sampled(1, images=200)
    grid = np.exp(np.linspace(math.log(0.2), math.log(5), 3001))
    best = grid[np.argmin([negative_log_likelihood(3 * logits, labels, t) for t in grid])]
    fitted = fit_temperature(3 * logits, labels)
    assert fitted == pytest.approx(best, rel=2e-3)
    assert negative_log_likelihood(3 * logits, labels, fitted) <= negative_log_likelihood(3 * logits, labels, best)


def test_the_fitted_temperature_keeps_every_ranking() -> None:
    logits, labels = sampled(2, images=300)
    np.testing.assert_array_equal(np.argsort(logits / fit_temperature(5 * logits, labels)), np.argsort(logits))


def test_the_loss_of_two_images_worked_by_hand() -> None:
    logits = [[math.log(3), 0.0], [0.0, 0.0]]  # 3 : 1 and 1 : 1
    assert negative_log_likelihood(logits, [0, 1]) == pytest.approx(-(math.log(3 / 4) + math.log(1 / 2)) / 2)
    # At temperature 2, 3 : 1 becomes sqrt(3) : 1.
    softer = math.sqrt(3) / (math.sqrt(3) + 1)
    assert negative_log_likelihood(logits, [0, 1], 2.0) == pytest.approx(-(math.log(softer) + math.log(1 / 2)) / 2)


@given(st.integers(0, 2**32 - 1), st.floats(-50, 50))
@settings(max_examples=25, deadline=None)
def test_a_constant_added_to_an_image_changes_nothing(seed: int, shift: float) -> None:
    logits, labels = sampled(seed, images=60)
    assert fit_temperature(logits + shift, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-4)


def test_huge_logits_do_not_overflow() -> None:
    assert negative_log_likelihood([[1e4, 0.0]], [1]) == pytest.approx(1e4)


def test_images_that_are_all_right_leave_the_temperature_alone() -> None:
    assert fit_temperature([[5.0, 0.0], [0.0, 1.0]], [0, 1]) == 1.0


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, dtype=int), "at least one image"),
        (np.zeros((2, 1)), np.zeros(2, dtype=int), "two classes"),
        ([[math.nan, 0.0]], [0], "NaN"),
        ([[0.0, 0.0]], [2], "0 to 1"),
        ([[0.0, 0.0]], [-1], "0 to 1"),
        ([[0.0, 0.0]], [0, 1], "1 whole numbers"),
        ([[0.0, 0.0]], [0.5], "whole numbers"),
    ],
)
def test_bad_input_is_refused_with_what_is_wanted(logits: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_temperature(logits, labels)
