import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pupil_trust import (
    Calibration,
    Certificate,
    fixed_certificate,
    fixed_grid,
    no_certificate,
    pac_certificate,
    pool_grid,
    promise_is_idle,
)

SOME = Calibration(np.array([0.9] * 90 + [0.5] * 10), np.array([True] * 94 + [False] * 6), np.array([0.9, 0.5]))


def test_a_certificate_survives_json_and_keys_from_the_future() -> None:
    certificate = pac_certificate(SOME, precision=0.9, delta=0.1, fingerprint="ab")
    plain = json.loads(json.dumps({**certificate.to_dict(), "note": "new"}))
    assert Certificate.from_dict(plain) == certificate


def test_a_certificate_that_lacks_a_key_or_names_an_unknown_guarantee_is_refused() -> None:
    plain = no_certificate(SOME, fingerprint="").to_dict()
    with pytest.raises(ValueError, match="guarantee 'gold'; one of pac, fdr, fixed, none"):
        Certificate.from_dict({**plain, "guarantee": "gold"})
    del plain["wrong"], plain["delta"]
    with pytest.raises(ValueError, match="lacks delta, wrong"):
        Certificate.from_dict(plain)


def test_a_fixed_threshold_is_counted_and_promises_nothing() -> None:
    certificate = fixed_certificate(SOME, threshold=0.9, fingerprint="ab")
    assert (certificate.calibration, certificate.accepted, certificate.wrong) == (100, 90, 0)
    assert (certificate.precision, certificate.delta, certificate.p_value) == (0.0, 1.0, 1.0)


def test_accepting_everything_needs_no_calibration_set() -> None:
    certificate = no_certificate(None, fingerprint="ab")
    assert (certificate.threshold, certificate.calibration, certificate.coverage) == (0.0, 0, 0.0)
    assert no_certificate(SOME, fingerprint="ab").wrong == 6


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan])
def test_a_threshold_that_is_no_confidence_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="a confidence from 0 to 1"):
        fixed_certificate(SOME, threshold=threshold, fingerprint="")


def test_a_promise_no_better_than_the_model_itself_is_idle() -> None:
    assert promise_is_idle(SOME, precision=0.94)  # 94 of 100 are right anyway
    assert not promise_is_idle(SOME, precision=0.95)


@pytest.mark.parametrize(
    ("confidence", "correct", "grid", "message"),
    [
        ([0.5, math.nan], [True, True], [0.5], "confidence holds NaN or infinity at index 1"),
        ([0.5], [True, False], [0.5], "one an image"),
        ([[0.5]], [True], [0.5], r"shape \(1, 1\)"),
        ([0.5], [True], [], "grid does not fall"),
        ([0.5], [True], [0.5, 0.9], "grid does not fall"),
        ([0.5], [True], [0.9, 0.9], "grid does not fall"),
        ([0.5], [True], [math.nan], "grid holds NaN"),
    ],
)
def test_a_calibration_set_that_makes_no_sense_is_refused(
    confidence: list[float], correct: list[bool], grid: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Calibration(np.array(confidence), np.array(correct), np.array(grid))


def test_an_empty_calibration_set_is_allowed_and_counts_nothing() -> None:
    empty = Calibration(np.zeros(0), np.zeros(0), fixed_grid())
    assert (empty.images, empty.counts(0.0)) == (0, (0, 0))


def test_the_grid_of_a_pool_accepts_each_twentieth_of_it() -> None:
    pool = np.random.default_rng(0).permutation(np.arange(1, 101) / 100)
    accepted = [(pool >= threshold).sum() for threshold in pool_grid(pool)]
    assert accepted == list(range(5, 101, 5))


@given(arrays(np.float32, st.integers(1, 80), elements=st.floats(0, 1, width=32)))
def test_a_grid_holds_values_of_its_pool_strict_to_loose_and_ends_by_accepting_all(pool: np.ndarray) -> None:
    grid = pool_grid(pool)
    assert set(grid) <= set(pool.astype(np.float64))
    assert (np.diff(grid) < 0).all()
    assert grid[-1] == pool.min()


def test_a_pool_of_equal_confidences_gives_one_threshold() -> None:
    assert pool_grid([0.7] * 50).tolist() == [0.7]


def test_an_empty_pool_has_no_grid() -> None:
    with pytest.raises(ValueError, match="use fixed_grid"):
        pool_grid([])


def test_the_fixed_grid_ends_by_accepting_all() -> None:
    sure, unsure = 1.0, 0.01
    everything = Calibration(np.array([sure, unsure]), np.array([True, True]), fixed_grid())
    assert [everything.counts(threshold)[0] for threshold in everything.grid[[0, -1]]] == [1, 2]
