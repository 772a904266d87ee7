"""Drift without labels: how often the alarm is false, and how soon it is right, over many streams."""

from types import SimpleNamespace

import numpy as np
import pytest

from pupil_server.bundle import CalibrationSet
from pupil_server.live.drift import LEVEL, Drift, features
from pupil_trust import Calibration

STREAMS, IMAGES, CALIBRATION = 100, 10_000, 1000
CLASSES = tuple("abcdefgh")


def traffic(random: np.random.Generator, images: int, *, brightness: float = 1.0):
    """Pictures of four pixels, and scores that depend on them as those of a classifier do."""
    pixels = (random.beta(2, 3, (images, 2, 2, 1)) * 255 * brightness).astype(np.uint8)
    logits = 4 * pixels.reshape(images, 4) @ WEIGHTS / 255 + random.normal(size=(images, len(CLASSES)))
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    return pixels, (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


WEIGHTS = np.random.default_rng(0).normal(size=(4, len(CLASSES)))


def drift_after_calibration(random: np.random.Generator) -> Drift:
    seen = features(*traffic(random, CALIBRATION))
    predicted = seen["classes"].astype(np.int64)
    images = CalibrationSet("", predicted, predicted, seen["brightness"], seen["contrast"])
    calibration = Calibration(seen["confidence"], np.ones(CALIBRATION, dtype=bool), np.array([0.0]))
    facts = SimpleNamespace(classes=CLASSES)
    return Drift(SimpleNamespace(facts=facts, calibration_set=images, calibration=calibration))


def test_streams_like_the_calibration_images_raise_no_more_alarms_than_the_level_allows() -> None:
    random = np.random.default_rng(1)
    alarms = 0
    for _ in range(STREAMS):
        drift = drift_after_calibration(random)
        drift.add(*traffic(random, IMAGES))
        alarms += bool(drift.alarms)
    assert alarms <= STREAMS * LEVEL + 3 * (STREAMS * LEVEL * (1 - LEVEL)) ** 0.5


@pytest.mark.parametrize("seed", range(5))
def test_half_the_brightness_is_noticed_within_two_thousand_images_after_any_past(seed: int) -> None:
    random = np.random.default_rng(seed)
    drift = drift_after_calibration(random)
    drift.add(*traffic(random, 2000))
    assert not drift.alarms
    drift.add(*traffic(random, 2000, brightness=0.5))
    assert "brightness" in drift.alarms


def test_images_are_counted_in_the_bins_of_the_calibration_images() -> None:
    drift = drift_after_calibration(np.random.default_rng(3))
    for pixels, scores in [traffic(np.random.default_rng(4), 100)] * 2:
        assert not drift.add(pixels, scores)  # held until there are enough
    drift.count()
    brightness, confidence = drift.counts["brightness"], drift.counts["confidence"]
    assert drift.images == brightness.sum() == confidence.sum() == 200
    pixels, scores = traffic(np.random.default_rng(4), 100)
    reference = features(*traffic(np.random.default_rng(3), CALIBRATION))
    cut = np.quantile(reference["brightness"], 0.5)
    assert brightness[:5].sum() == 2 * (pixels.reshape(100, -1).mean(axis=1) / 255 < cut).sum()
    assert drift.counts["classes"].tolist() == (2 * np.bincount(scores.argmax(axis=1), minlength=8)).tolist()


def test_a_bundle_that_tells_nothing_of_its_images_is_watched_by_what_it_tells() -> None:
    said = CalibrationSet("", np.array([0, 1, 1]), np.array([0, 1, 1]), None, None)
    calibration = Calibration(np.array([0.5, 0.6, 0.7]), np.ones(3, dtype=bool), np.array([0.0]))
    known = SimpleNamespace(facts=SimpleNamespace(classes=CLASSES), calibration_set=said, calibration=calibration)
    assert set(Drift(known).counts) == {"classes", "confidence"}
    unknown = SimpleNamespace(facts=SimpleNamespace(classes=CLASSES), calibration_set=None, calibration=None)
    assert not Drift(unknown).add(*traffic(np.random.default_rng(0), 5))
    assert Drift(unknown).evidence() == {}
