"""Drift without labels: how often the alarm is false, and how soon it is right, over many streams."""

import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from pupil_server.bundle import CalibrationSet
from pupil_server.live.drift import LEVEL, Drift, numbers
from pupil_server.live.stream import Stream
from pupil_server.session import Outputs
from pupil_trust import Calibration

STREAMS, IMAGES, CALIBRATION = 100, 10_000, 1000
CLASSES = tuple("abcdefgh")


def traffic(random: np.random.Generator, images: int, *, brightness: float = 1.0):
    """Pictures of four pixels, and scores that depend on them as those of a classifier do."""
    pixels = (random.beta(2, 3, (images, 2, 2, 1)) * 255 * brightness).astype(np.uint8)
    logits = 4 * pixels.reshape(images, 4) @ WEIGHTS / 255 + random.normal(size=(images, len(CLASSES)))
    return pixels, outputs_of(logits)


def outputs_of(logits: np.ndarray) -> Outputs:
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    return Outputs(logits.astype(np.float32), (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32))


WEIGHTS = np.random.default_rng(0).normal(size=(4, len(CLASSES)))


def drift_after_calibration(random: np.random.Generator) -> Drift:
    return drift_from(numbers(*traffic(random, CALIBRATION)), CLASSES)


def drift_from(seen: dict[str, np.ndarray], classes: tuple[str, ...]) -> Drift:
    predicted = seen["classes"].astype(np.int64)
    images = CalibrationSet("", predicted, predicted, seen["brightness"], seen["contrast"], seen["energy"])
    calibration = Calibration(seen["confidence"], np.ones(len(predicted), dtype=bool), np.array([0.0]))
    facts = SimpleNamespace(classes=classes)
    return Drift(SimpleNamespace(facts=facts, calibration_set=images, calibration=calibration))


def test_streams_like_the_calibration_images_raise_no_more_alarms_than_the_level_allows() -> None:
    random = np.random.default_rng(1)
    alarms = 0
    for _ in range(STREAMS):
        drift = drift_after_calibration(random)
        add(drift, *traffic(random, IMAGES))
        alarms += bool(drift.alarms)
    assert alarms <= STREAMS * LEVEL + 3 * (STREAMS * LEVEL * (1 - LEVEL)) ** 0.5


def add(drift: Drift, pixels: np.ndarray, outputs: Outputs) -> None:
    """In requests of 100 images."""
    for start in range(0, len(pixels), 100):
        drift.add(pixels[start : start + 100], Outputs(*(rows[start : start + 100] for rows in outputs)))


@pytest.mark.parametrize("past", [1000, 10_000, 201_000])
def test_half_the_brightness_is_noticed_within_two_thousand_images_after_any_past(past: int) -> None:
    random = np.random.default_rng(past)
    drift = drift_after_calibration(random)
    add(drift, *traffic(random, past))
    assert not drift.alarms
    add(drift, *traffic(random, 2000, brightness=0.5))
    assert "brightness" in drift.alarms


@pytest.fixture(scope="module")
def digits():
    """Real pictures that a real model has not seen (N, 8, 8, 1), and a function that gives its logits."""
    data = load_digits()
    pixels = (data.images * 255 / 16).astype(np.uint8)[..., None]
    flat = pixels.reshape(len(pixels), -1) / 255
    model = LogisticRegression(C=30.0, max_iter=300).fit(flat[:500], data.target[:500])
    return pixels[500:], lambda images: model.decision_function(images.reshape(len(images), -1) / 255)


def test_real_pictures_raise_no_false_alarm_and_darker_ones_do(digits) -> None:
    pixels, logits_of = digits
    random, logits, dark = np.random.default_rng(6), logits_of(pixels), logits_of(pixels // 2)
    alarms = 0
    for stream in range(STREAMS):
        drift = drift_from(_some(random, pixels, logits, CALIBRATION), tuple("0123456789"))
        chosen = random.integers(0, len(pixels), IMAGES)
        noise = random.normal(0, 1e-6, (IMAGES, 1))  # of other hardware, or of another batch
        add(drift, pixels[chosen], outputs_of(logits[chosen] * (1 + noise)))
        alarms += bool(drift.alarms)
        if stream < 5:
            chosen = random.integers(0, len(pixels), 2000)
            add(drift, pixels[chosen] // 2, outputs_of(dark[chosen]))
            assert "brightness" in drift.alarms
    assert alarms <= STREAMS * LEVEL + 3 * (STREAMS * LEVEL * (1 - LEVEL)) ** 0.5


def _some(random: np.random.Generator, pixels: np.ndarray, logits: np.ndarray, images: int) -> dict[str, np.ndarray]:
    chosen = random.integers(0, len(pixels), images)
    return numbers(pixels[chosen], outputs_of(logits[chosen]))


def test_images_that_speak_for_no_class_are_noticed_by_their_energy_where_the_scores_stay_as_they_are() -> None:
    random = np.random.default_rng(9)
    drift = drift_after_calibration(random)
    pixels, outputs = traffic(random, 2000)
    add(drift, pixels, outputs)
    assert not drift.alarms
    pixels, outputs = traffic(random, 2000)
    add(drift, pixels, outputs_of(outputs.logits - 1))  # of which softmax knows nothing
    assert drift.alarms == {"energy"}


def test_the_energy_is_that_of_the_logits_before_any_temperature() -> None:
    logits = np.array([[1.0, 2.0, 3.0], [500.0, 0.0, -500.0]])
    found = numbers(np.zeros((2, 2, 2, 1), np.uint8), outputs_of(logits))["energy"]
    assert found.tolist() == pytest.approx([3 + math.log(1 + math.exp(-1) + math.exp(-2)), 500.0])


def test_a_stream_goes_on_from_its_file_and_its_evidence_begins_at_none() -> None:
    reference = np.array([300.0, 500.0, 200.0])
    stream, random = Stream(reference), np.random.default_rng(7)
    assert stream.evidence() == pytest.approx(0)
    for counts in random.multinomial(100, [0.2, 0.2, 0.6], 45):
        stream.add(counts.astype(float))
    again = Stream.from_dict(reference, json.loads(json.dumps(stream.to_dict())))
    assert again.evidence() == stream.evidence() > 100
    assert (again.images, again.windows, again.window.sum()) == (4500, 2, 500)


def test_under_one_source_the_evidence_is_a_martingale_across_windows(monkeypatch) -> None:
    """Its mean over all streams of 6 images, as likely as the prior has them, is 1: windows of two end on the way."""
    monkeypatch.setattr("pupil_server.live.stream.WINDOW", 2)
    ours = np.array([1.0, 1.0])
    mean = 0.0
    for kinds in itertools.product((0, 1), repeat=6):
        stream = Stream(ours)
        counts, chance = ours + 0.5, 1.0  # of each kind, with Jeffreys' prior
        for kind in kinds:
            chance *= counts[kind] / counts.sum()
            counts = counts + np.eye(2)[kind]
            stream.add(np.eye(2)[kind])
        mean += chance * np.exp(stream.evidence())
    assert mean == pytest.approx(1)


def test_images_are_counted_in_the_bins_of_the_calibration_images() -> None:
    drift = drift_after_calibration(np.random.default_rng(3))
    for pixels, outputs in [traffic(np.random.default_rng(4), 100)] * 2:
        assert not drift.add(pixels, outputs)  # held until there are enough
    drift.count()
    brightness, confidence = drift.streams["brightness"].whole, drift.streams["confidence"].whole
    assert drift.images == brightness.sum() == confidence.sum() == 200
    pixels, outputs = traffic(np.random.default_rng(4), 100)
    reference = numbers(*traffic(np.random.default_rng(3), CALIBRATION))
    cut = np.quantile(reference["brightness"], 0.5)
    assert brightness[:5].sum() == 2 * (pixels.reshape(100, -1).mean(axis=1) / 255 < cut).sum()
    assert (
        drift.streams["classes"].whole.tolist()
        == (2 * np.bincount(outputs.scores.argmax(axis=1), minlength=8)).tolist()
    )


def test_a_confidence_that_differs_by_rounding_alone_is_the_same() -> None:
    random = np.random.default_rng(8)
    seen = numbers(*traffic(random, CALIBRATION))
    seen["confidence"][:600] = 1.0  # as of a model that is sure
    drift = drift_from(seen, CLASSES)
    pixels, outputs = traffic(random, 100)
    outputs.scores[:, 0] = np.nextafter(np.float32(1), np.float32(0))
    drift.add(pixels, outputs)
    drift.count()
    assert drift.streams["confidence"].whole[-1] == 100


def test_a_bundle_that_tells_nothing_of_its_images_is_watched_by_what_it_tells() -> None:
    said = CalibrationSet("", np.array([0, 1, 1]), np.array([0, 1, 1]), None, None, None)
    calibration = Calibration(np.array([0.5, 0.6, 0.7]), np.ones(3, dtype=bool), np.array([0.0]))
    known = SimpleNamespace(facts=SimpleNamespace(classes=CLASSES), calibration_set=said, calibration=calibration)
    assert set(Drift(known).streams) == {"classes", "confidence"}
    unknown = SimpleNamespace(facts=SimpleNamespace(classes=CLASSES), calibration_set=None, calibration=None)
    assert not Drift(unknown).add(*traffic(np.random.default_rng(0), 5))
    assert Drift(unknown).evidence() == {}
