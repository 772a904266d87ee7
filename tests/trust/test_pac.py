import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pupil_trust import Calibration, NotCertifiable, needed_images, p_value, pac_certificate

Draw = Callable[[np.random.Generator, int], Calibration]


def tail(wrong: int, accepted: int, error: Fraction) -> Fraction:
    """P(Bin(accepted, error) <= wrong), summed in whole numbers."""
    return sum(
        (math.comb(accepted, j) * error**j * (1 - error) ** (accepted - j) for j in range(wrong + 1)), Fraction(0)
    )


def some(*groups: tuple[float, int, int], grid: tuple[float, ...]) -> Calibration:
    """Groups of (confidence, right, wrong)."""
    confidence = [c for c, right, wrong in groups for _ in range(right + wrong)]
    correct = [i < right for _, right, wrong in groups for i in range(right + wrong)]
    return Calibration(np.array(confidence), np.array(correct, dtype=bool), np.array(grid))


@pytest.mark.parametrize(
    ("precision", "at_a_tenth", "at_a_twentieth"),
    [
        (0.90, (22, 38, 52, 91), (29, 46, 61, 103)),
        (0.95, (45, 77, 105, 184), (59, 93, 124, 208)),
        (0.98, (114, 194, 265, 462), (149, 236, 313, 523)),
        (0.99, (230, 388, 531, 926), (299, 473, 628, 1049)),
        (0.995, (460, 777, 1063, 1853), (598, 947, 1258, 2100)),
        (0.999, (2302, 3889, 5321, 9273), (2995, 4742, 6294, 10511)),
    ],
)
def test_the_table_of_needed_images(
    precision: float, at_a_tenth: tuple[int, ...], at_a_twentieth: tuple[int, ...]
) -> None:
    assert tuple(needed_images(precision, 0.10, k) for k in (0, 1, 2, 5)) == at_a_tenth
    assert tuple(needed_images(precision, 0.05, k) for k in (0, 1, 2, 5)) == at_a_twentieth


@given(st.integers(1, 400), st.data(), st.sampled_from(["0.9", "0.95", "0.99", "0.995"]))
@settings(deadline=None)
def test_the_p_value_is_the_exact_binomial_tail(accepted: int, data: st.DataObject, precision: str) -> None:
    wrong = data.draw(st.integers(0, min(accepted, 20)))
    exact = tail(wrong, accepted, 1 - Fraction(precision))
    assert p_value(wrong, accepted, float(precision)) == pytest.approx(float(exact), rel=1e-9)


def test_no_images_prove_nothing() -> None:
    assert p_value(0, 0, 0.9) == 1.0
    assert p_value(3, 3, 0.9) == 1.0


@given(st.sampled_from([0.9, 0.95, 0.99]), st.sampled_from([0.01, 0.05, 0.2]), st.integers(0, 15))
@settings(deadline=None)
def test_one_image_fewer_than_needed_is_not_enough(precision: float, delta: float, wrong: int) -> None:
    needed = needed_images(precision, delta, wrong)
    assert p_value(wrong, needed, precision) <= delta < p_value(wrong, needed - 1, precision)


@pytest.mark.parametrize("precision", [0.9999, 1 - 1e-9, 1 - 1e-12, math.nextafter(1, 0)])
@pytest.mark.parametrize("delta", [0.5, 0.05, 1e-9])
def test_promises_that_nobody_can_keep_are_priced_too(precision: float, delta: float) -> None:
    """Without an error it takes log(delta) / log(precision)."""
    assert needed_images(precision, delta) == pytest.approx(math.log(delta) / math.log(precision), rel=1e-6, abs=1)


def test_the_loosest_certified_threshold_is_taken_with_its_counts() -> None:
    calibration = some((0.99, 60, 0), (0.9, 40, 1), (0.5, 10, 10), grid=(0.99, 0.9, 0.5))
    certificate = pac_certificate(calibration, precision=0.95, delta=0.05, fingerprint="f")
    assert certificate.to_dict() == {
        "guarantee": "pac",
        "precision": 0.95,
        "delta": 0.05,
        "threshold": 0.9,
        "calibration": 121,
        "accepted": 101,
        "wrong": 1,
        "p_value": pytest.approx(float(tail(1, 101, Fraction(1, 20))), rel=1e-9),
        "coverage": 101 / 121,
        "fingerprint": "f",
    }


def test_strict_thresholds_with_too_few_images_are_skipped_and_not_failed() -> None:
    calibration = some((0.99, 5, 0), (0.9, 95, 0), grid=(0.99, 0.9))
    assert pac_certificate(calibration, precision=0.95, delta=0.05, fingerprint="").threshold == 0.9


def test_testing_stops_at_the_first_failure_even_where_a_looser_threshold_would_pass() -> None:
    calibration = some((0.99, 60, 0), (0.9, 30, 5), (0.5, 900, 0), grid=(0.99, 0.9, 0.5))
    assert p_value(5, 995, 0.95) < 0.05  # so 0.5 alone would pass
    assert pac_certificate(calibration, precision=0.95, delta=0.05, fingerprint="").threshold == 0.99


def test_a_refusal_without_an_error_says_how_many_images_it_would_take() -> None:
    calibration = some((0.9, 61, 0), grid=(0.9,))
    wanted = "^precision 0.99 at delta 0.05 needs at least 299 accepted calibration images without an error, has 61$"
    with pytest.raises(NotCertifiable, match=wanted):
        pac_certificate(calibration, precision=0.99, delta=0.05, fingerprint="")


def test_a_refusal_with_errors_says_how_many_images_those_errors_would_take() -> None:
    calibration = some((0.9, 308, 2), grid=(0.9, 0.5))
    with pytest.raises(NotCertifiable, match=r"needs at least 628 .* with 2 wrong, has 310 with 2 wrong .* 0\.9,"):
        pac_certificate(calibration, precision=0.99, delta=0.05, fingerprint="")


def test_an_empty_calibration_set_certifies_nothing() -> None:
    with pytest.raises(NotCertifiable, match=r"needs at least 29 .*, has 0$"):
        pac_certificate(some(grid=(0.9,)), precision=0.9, delta=0.05, fingerprint="")


@pytest.mark.parametrize(("precision", "delta"), [(1.0, 0.05), (0.0, 0.05), (0.9, 0.0), (0.9, 1.0), (math.nan, 0.05)])
def test_a_promise_that_cannot_be_is_refused(precision: float, delta: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        pac_certificate(some((0.9, 99, 0), grid=(0.9,)), precision=precision, delta=delta, fingerprint="")


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_asking_for_less_never_accepts_fewer_where_the_same_threshold_comes_first(draw: Draw, seed: int) -> None:
    drawn, enough = draw(np.random.default_rng(seed), 500), needed_images(0.95, 0.05)
    grid = [threshold for threshold in drawn.grid if drawn.counts(threshold)[0] >= enough]  # else a laxer delta begins
    calibration = Calibration(drawn.confidence, drawn.correct, np.array(grid))  # at a stricter one, and may fail there

    def accepted(precision: float, delta: float) -> int:
        try:
            return pac_certificate(calibration, precision=precision, delta=delta, fingerprint="").accepted
        except NotCertifiable:
            return 0

    assert accepted(0.95, 0.05) <= accepted(0.95, 0.2)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.8, 0.9, 0.95]))
@settings(max_examples=30, deadline=None)
def test_ten_times_the_same_evidence_is_more_evidence(draw: Draw, seed: int, precision: float) -> None:
    once = draw(np.random.default_rng(seed), 300)
    try:
        certificate = pac_certificate(once, precision=precision, delta=0.05, fingerprint="")
    except NotCertifiable:
        return
    # At its own threshold only: with more images stricter thresholds are tested too, and one of them may fail.
    assert p_value(10 * certificate.wrong, 10 * certificate.accepted, precision) <= certificate.p_value


def slack(share: float, draws: int) -> float:
    """Three standard deviations above a share: a right procedure goes beyond once in 700."""
    return share + 3 * math.sqrt(share * (1 - share) / draws)


def test_in_1000_draws_on_the_very_edge_of_the_promise_delta_is_nearly_used_up() -> None:
    """One threshold whose true error is a hair above the promise: the worst case, where an off-by-one shows."""
    random, passed = np.random.default_rng(1), 0
    for wrong in random.binomial(2000, 0.05 + 1e-9, 1000):
        calibration = some((0.9, 2000 - wrong, wrong), grid=(0.9,))
        try:
            pac_certificate(calibration, precision=0.95, delta=0.1, fingerprint="")
        except NotCertifiable:
            continue
        passed += 1
    assert 0.06 < passed / 1000 <= slack(0.1, 1000)


def test_the_naive_rule_breaks_the_same_promise_in_far_more_draws(
    draw: Draw, true_error: Callable[[float], float]
) -> None:
    random, precision, broken = np.random.default_rng(0), 0.95, 0
    for _ in range(1000):
        calibration = draw(random, 1000)
        counts = [(*calibration.counts(t), t) for t in calibration.grid.tolist()]
        loosest = min((t for accepted, wrong, t in counts if wrong <= (1 - precision) * accepted), default=2.0)
        broken += loosest < 2.0 and true_error(loosest) > 1 - precision
    assert broken / 1000 > 0.25
