import math

import numpy as np
import pytest

from pupil_trust import Calibration, Certificate, NotCertifiable, per_class_certificates


def test_ten_classes_at_95_percent_take_90_images_each() -> None:
    """ln(0.1 / 10) / ln(0.95) = 89.8."""
    predicted = np.repeat(np.arange(10), [90, 89, *[90] * 8])
    calibration = Calibration(np.full(len(predicted), 0.9), np.ones(len(predicted), dtype=bool), np.array([0.5]))
    found = per_class_certificates(calibration, predicted, 10, precision=0.95, delta=0.1, fingerprint="f")
    assert [isinstance(each, Certificate) for each in found] == [True, False, *[True] * 8]
    assert isinstance(found[1], NotCertifiable)
    assert "needs at least 90" in str(found[1])
    assert found[0] == Certificate(
        guarantee="pac", precision=0.95, delta=0.01, threshold=0.5, calibration=90, accepted=90, wrong=0,
        p_value=pytest.approx(0.95**90), coverage=1.0, fingerprint="f",
    )  # fmt: skip


def test_a_class_that_is_often_wrong_has_a_threshold_of_its_own() -> None:
    confidence = np.tile([0.9, 0.6], 200)
    predicted = np.repeat([0, 1], 200)
    correct = (predicted == 0) | (confidence > 0.8)
    found = per_class_certificates(
        Calibration(confidence, correct, np.array([0.9, 0.6])), predicted, 2, precision=0.9, delta=0.1, fingerprint=""
    )
    assert [each.threshold for each in found if isinstance(each, Certificate)] == [0.6, 0.9]


def test_all_promises_together_are_broken_in_at_most_delta_of_the_calibration_sets() -> None:
    random, delta, broken = np.random.default_rng(4), 0.2, 0
    wrong_share = np.array([[0.002, 0.05, 0.2], [0.01, 0.1, 0.3]])  # by class and level
    levels = np.array([0.9, 0.7, 0.5])
    for _ in range(600):
        predicted, level = random.integers(0, 2, 800), random.integers(0, 3, 800)
        correct = random.random(800) >= wrong_share[predicted, level]
        found = per_class_certificates(
            Calibration(levels[level], correct, levels), predicted, 2, precision=0.95, delta=delta, fingerprint=""
        )
        true = [
            wrong_share[number, levels >= each.threshold].mean() if isinstance(each, Certificate) else 0.0
            for number, each in enumerate(found)
        ]
        broken += max(true) > 0.05
    assert broken <= 600 * delta + 3 * math.sqrt(600 * delta * (1 - delta))


def test_no_calibration_image_certifies_no_class() -> None:
    nothing = Calibration(np.array([]), np.array([], dtype=bool), np.array([0.5]))
    found = per_class_certificates(nothing, np.array([], dtype=np.int64), 3, precision=0.9, delta=0.1, fingerprint="")
    assert all(isinstance(each, NotCertifiable) for each in found)
