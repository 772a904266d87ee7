import math
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from pupil_trust import (
    equal_mass_bins,
    equal_mass_calibration_error,
    equal_width_bins,
    expected_calibration_error,
    wilson_interval,
)


def test_bins_of_four_images_worked_by_hand() -> None:
    confidence, correct = [0.6, 0.9, 0.7, 1.0], [True, True, False, True]
    (only,) = equal_width_bins(confidence, correct, bins=2)  # nothing in (0, 0.5]
    assert (only.count, only.right, only.accuracy) == (4, 3, 0.75)
    assert only.confidence == pytest.approx(0.8)
    assert only.interval == wilson_interval(3, 4)
    low, high = equal_mass_bins(confidence, correct, bins=2)
    assert (low.count, low.right, high.count, high.right) == (2, 1, 2, 2)
    assert (low.confidence, high.confidence) == pytest.approx((0.65, 0.95))


def test_the_bins_are_scikit_learns() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.001, 0.999, 500)
    correct = random.random(500) < confidence
    for bins, strategy in ((equal_width_bins, "uniform"), (equal_mass_bins, "quantile")):
        accuracy, mean = calibration_curve(correct, confidence, n_bins=10, strategy=strategy)
        ours = bins(confidence, correct, bins=10)
        assert [each.accuracy for each in ours] == pytest.approx(accuracy.tolist())
        assert [each.confidence for each in ours] == pytest.approx(mean.tolist())
        assert sum(each.count for each in ours) == 500


def test_equal_confidences_share_a_bin_of_equal_mass() -> None:
    assert [each.count for each in equal_mass_bins([0.5, 0.9, 0.9, 0.9], [True] * 4, bins=4)] == [1, 3]


def test_calibration_error_of_four_images_worked_by_hand() -> None:
    confidence, correct = [0.6, 0.7, 0.9, 1.0], [True, False, True, True]
    # Halves (0, 0.5] and (0.5, 1]: all four in one, mean confidence 0.8, accuracy 0.75.
    assert expected_calibration_error(confidence, correct, bins=2) == pytest.approx(0.05)
    # Equal mass: 0.6 and 0.7 against 1 of 2, 0.9 and 1.0 against 2 of 2.
    assert equal_mass_calibration_error(confidence, correct, bins=2) == pytest.approx((0.15 + 0.05) / 2)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    # (0, 0.5] holds 0.25 and 0.5, whose gaps cancel; were 0.5 above, they would add up.
    assert expected_calibration_error([0.25, 0.5], [False, True], bins=2) == pytest.approx(0.125)
    assert expected_calibration_error([0.25, 0.5001], [False, True], bins=2) == pytest.approx(0.375, abs=1e-4)


Error = Callable[..., float]


@pytest.mark.parametrize("error", [expected_calibration_error, equal_mass_calibration_error])
def test_calibration_error_does_not_depend_on_the_order_even_with_ties(error: Error) -> None:
    random = np.random.default_rng(0)
    confidence, correct = random.integers(0, 6, 200) / 5, random.random(200) < 0.6
    order = random.permutation(200)
    assert error(confidence[order], correct[order]) == pytest.approx(error(confidence, correct), abs=1e-12)


@pytest.mark.parametrize("error", [expected_calibration_error, equal_mass_calibration_error])
def test_honest_confidences_have_a_small_calibration_error_and_boasting_ones_a_large_one(error: Error) -> None:
    random = np.random.default_rng(1)
    chance = random.uniform(0.3, 1.0, 20000)
    correct = random.random(20000) < chance
    assert error(chance, correct) < 0.02
    assert error(np.sqrt(chance), correct) == pytest.approx(np.mean(np.sqrt(chance) - chance), abs=0.02)


@pytest.mark.parametrize("error", [expected_calibration_error, equal_mass_calibration_error])
@pytest.mark.parametrize(
    ("confidence", "correct", "bins", "message"),
    [
        ([], [], 15, "empty"),
        ([math.nan], [True], 15, "NaN or infinity at index 0"),
        ([0.5], [True, False], 15, "one an image"),
        ([0.5], [1], 15, "true or false"),
        ([0.5], [True], 0, "0 bins"),
    ],
)
def test_bad_confidences_are_refused(
    error: Error, confidence: list[float], correct: list[bool], bins: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        error(confidence, correct, bins)
