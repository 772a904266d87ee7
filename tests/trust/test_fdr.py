import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pupil_trust import Calibration, NotCertifiable, fdr_accept, fdr_threshold, needed_for_fdr

Draw = Callable[[np.random.Generator, int], Calibration]


def by_definition(calibration: Calibration, pool: np.ndarray, error: float) -> np.ndarray:
    """Conformal p-values and Benjamini-Hochberg, one image and one rank at a time."""
    wrong = [c for c, right in zip(calibration.confidence, calibration.correct, strict=True) if not right]
    p_values = [(1 + sum(w >= c for w in wrong)) / (calibration.images + 1) for c in pool]
    ordered = sorted(p_values)
    cut = max((p for rank, p in enumerate(ordered, 1) if p <= error * rank / len(pool)), default=-1.0)
    return np.array([p <= cut for p in p_values], dtype=bool)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.75, 0.9, 0.95]), st.integers(1, 60))
@settings(deadline=None)
def test_it_accepts_what_the_definition_accepts(draw: Draw, seed: int, precision: float, images: int) -> None:
    random = np.random.default_rng(seed)
    calibration, pool = draw(random, 80), draw(random, images).confidence  # 20 levels, so ties everywhere
    accepted, certificate = fdr_accept(calibration, pool, precision=precision, fingerprint="f")
    np.testing.assert_array_equal(accepted, by_definition(calibration, pool, round(1 - precision, 12)))
    np.testing.assert_array_equal(accepted, pool >= certificate.threshold)


def test_a_small_example_worked_by_hand() -> None:
    # Four right, one wrong at 0.6: p is 1/6 above 0.6 and 2/6 below or at it.
    calibration = Calibration(
        np.array([0.9, 0.8, 0.7, 0.65, 0.6]), np.array([True] * 4 + [False]), np.array([0.9, 0.5])
    )
    pool = np.array([0.55, 0.95, 0.6, 0.7])
    # At 0.3: ranks 1 to 4 may have p up to 0.075, 0.15, 0.225, 0.3; the second has 1/6, the fourth 2/6: none passes.
    assert not fdr_accept(calibration, pool, precision=0.7, fingerprint="")[0].any()
    # At 0.35: up to 0.0875, 0.175, 0.2625, 0.35; rank 2 passes with 1/6, and rank 4 with 2/6.
    assert fdr_accept(calibration, pool, precision=0.65, fingerprint="")[0].all()
    # At 0.34 with a fifth sure image: 0.068, 0.136, 0.204, 0.272, 0.34: rank 5 passes too.
    assert fdr_threshold(calibration, [*pool, 0.99], precision=0.66) == 0.55


def test_it_takes_one_image_for_each_that_may_be_wrong_less_one() -> None:
    wanted = {0.5: 1, 0.9: 9, 0.95: 19, 0.99: 99, 0.999: 999, math.nextafter(1, 0): 10**16 - 1}
    assert {precision: needed_for_fdr(precision) for precision in wanted} == pytest.approx(wanted)


def test_the_certificate_counts_the_calibration_set_at_the_threshold() -> None:
    calibration = Calibration(
        np.array([0.9] * 30 + [0.4] * 10), np.array([True] * 30 + [False] * 10), np.array([0.9, 0.4])
    )
    accepted, certificate = fdr_accept(calibration, [0.95, 0.9, 0.3], precision=0.9, fingerprint="f")
    assert accepted.tolist() == [True, True, False]
    assert certificate.to_dict() == {
        "guarantee": "fdr",
        "precision": 0.9,
        "delta": 1.0,
        "threshold": 0.9,
        "calibration": 40,
        "accepted": 30,
        "wrong": 0,
        "p_value": 1.0,
        "coverage": 0.75,
        "fingerprint": "f",
    }


def test_over_1000_draws_the_mean_share_of_wrong_labels_stays_within_the_promise(draw: Draw) -> None:
    random, error, shares, accepted_share = np.random.default_rng(0), 0.05, [], []
    for _ in range(1000):
        calibration, pool = draw(random, 100), draw(random, 200)
        accepted, _ = fdr_accept(calibration, pool.confidence, precision=1 - error, fingerprint="")
        shares.append((accepted & ~pool.correct).sum() / max(accepted.sum(), 1))
        accepted_share.append(accepted.mean())
    three_deviations = 3 * np.std(shares) / math.sqrt(len(shares))
    assert np.mean(shares) <= error + three_deviations
    assert np.mean(accepted_share) > 0.2  # the promise is not kept by keeping silent


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_asking_for_less_never_accepts_fewer_of_the_pool(draw: Draw, seed: int) -> None:
    random = np.random.default_rng(seed)
    calibration, pool = draw(random, 150), draw(random, 100).confidence
    strict = fdr_threshold(calibration, pool, precision=0.98)
    assert fdr_threshold(calibration, pool, precision=0.9) <= strict


@pytest.mark.parametrize(("precision", "images"), [(0.9, 9), (0.95, 19), (0.98, 49), (0.99, 99), (0.995, 199)])
def test_the_fewest_calibration_images_accept_a_sure_pool_and_one_fewer_is_refused(
    precision: float, images: int
) -> None:
    assert needed_for_fdr(precision) == images
    enough = Calibration(np.full(images, 0.9), np.full(images, True), np.array([0.9]))
    assert fdr_accept(enough, [0.9, 0.2], precision=precision, fingerprint="")[0].all()
    short = Calibration(np.full(images - 1, 0.9), np.full(images - 1, True), np.array([0.9]))
    with pytest.raises(NotCertifiable, match=f"needs at least {images} calibration images, has {images - 1}"):
        fdr_accept(short, [0.9, 0.2], precision=precision, fingerprint="")


def test_a_pool_that_nothing_can_be_accepted_from_is_answered_with_abstention() -> None:
    hopeless = Calibration(np.full(50, 0.9), np.full(50, False), np.array([0.9]))
    accepted, certificate = fdr_accept(hopeless, [0.9, 0.9, 0.1], precision=0.9, fingerprint="")
    assert not accepted.any()
    assert certificate.coverage == 0.0


def test_an_image_surer_than_every_wrong_one_is_accepted_all_the_same() -> None:
    hopeless = Calibration(np.full(50, 0.9), np.full(50, False), np.array([0.9]))
    accepted, certificate = fdr_accept(hopeless, [1.0, 0.9, 0.1], precision=0.9, fingerprint="")
    assert accepted.tolist() == [True, False, False]  # p is 1/51, and rank 1 of 3 may have up to 0.1/3
    assert (certificate.threshold, certificate.accepted) == (1.0, 0)


def test_an_empty_pool_is_no_error() -> None:
    calibration = Calibration(np.full(50, 0.9), np.full(50, True), np.array([0.9]))
    assert len(fdr_accept(calibration, [], precision=0.9, fingerprint="")[0]) == 0


def test_nan_in_the_pool_is_refused() -> None:
    calibration = Calibration(np.full(50, 0.9), np.full(50, True), np.array([0.9]))
    with pytest.raises(ValueError, match="pool confidence holds NaN or infinity at index 1"):
        fdr_accept(calibration, [0.5, math.nan], precision=0.9, fingerprint="")
