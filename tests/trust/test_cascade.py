import math

import numpy as np
import pytest
from numpy.typing import NDArray

from pupil_trust import (
    DEFER_ALL,
    CascadeCertificate,
    CascadePoint,
    Losses,
    NotCertifiable,
    cascade_certificate,
    cascade_curve,
    disagreements,
    losses_of,
    needed_images,
    p_value,
    pair_name,
    setbacks,
    wrong_answers,
)

LEVELS = np.linspace(0.05, 1.0, 20)


def certified(
    confidence: NDArray[np.float64], losses: Losses, *, limit: float, delta: float = 0.1
) -> CascadeCertificate:
    return cascade_certificate(confidence, losses, goal="worse", limit=limit, delta=delta, student="s", teacher="t")


def test_what_counts_as_a_loss_by_goal() -> None:
    student, teacher = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert [each.tolist() for each in wrong_answers(student, teacher)] == [
        [False, False, True, True],
        [False, True, False, True],
    ]
    assert [each.tolist() for each in setbacks(student, teacher)] == [[False, False, True, False], [False] * 4]
    assert [each.tolist() for each in disagreements(student == teacher)] == [[False, True, True, False], [False] * 4]


def test_the_losses_of_a_goal_follow_from_what_both_said() -> None:
    said, told, right = [1, 1, 0, 2], [1, 0, 1, 0], [1, 1, 1, 1]  # right and right, right alone, …
    student, teacher = np.array([True, True, False, False]), np.array([True, False, True, False])
    for goal, expected in (
        ("accuracy", wrong_answers(student, teacher)),
        ("worse", setbacks(student, teacher)),
        ("disagreement", disagreements([True, False, False, False])),
    ):
        found = losses_of(goal, said, told, right)
        assert [each.tolist() for each in found] == [each.tolist() for each in expected]
    with pytest.raises(ValueError, match=r"\(4,\), \(4,\) and \(1,\) images"):
        losses_of("worse", said, told, [1])


@pytest.mark.parametrize("goal", ["worse", "accuracy"])
def test_without_labels_only_disagreement_can_be_promised(goal: str) -> None:
    assert losses_of("disagreement", [0, 1], [0, 2], None).student.tolist() == [False, True]
    with pytest.raises(NotCertifiable, match="have no labels"):
        losses_of(goal, [0, 1], [0, 2], None)


def test_without_a_loss_it_takes_460_images_to_lose_at_most_half_a_percent() -> None:
    """ln(0.1) / ln(0.995) = 459.4."""
    same = disagreements(np.ones(460, dtype=bool))
    assert certified(np.full(460, 0.9), same, limit=0.005).deferred == 0
    with pytest.raises(NotCertifiable, match=r"needs at least 460 calibration images.*has 459"):
        certified(np.full(459, 0.9), disagreements(np.ones(459, dtype=bool)), limit=0.005)


def test_the_cheapest_threshold_before_the_first_that_loses_too_much() -> None:
    """1,000 images, 50 at each level; those at 0.5 and below disagree. At 1 % and delta 0.1 five may be lost."""
    confidence = np.repeat(LEVELS, 50)
    agree = confidence > 0.52
    found = certified(confidence, disagreements(agree), limit=0.01)
    assert 0.5 < found.threshold <= 0.55
    assert (found.images, found.lost, found.deferred) == (1000, 0, 0.5)
    assert found.p_value == pytest.approx(0.99**1000)


def test_the_threshold_stands_just_above_the_first_image_that_would_be_one_loss_too_many() -> None:
    """5,000 images, evenly between 0.5 and 1, every hundredth differs: 16 may be lost of them at 0.5 %, not 17."""
    confidence, agree = np.linspace(1, 0.5, 5000), np.arange(5000) % 100 != 99
    assert p_value(16, 5000, 0.995) <= 0.05 < p_value(17, 5000, 0.995)
    found = certified(confidence, disagreements(agree), limit=0.005, delta=0.05)
    assert found.lost == 16
    assert confidence[1699] < found.threshold < confidence[1600]


def test_a_teacher_that_is_not_good_enough_itself_is_named() -> None:
    right = np.arange(1000) % 20 > 0  # 95 %
    with pytest.raises(NotCertifiable, match="50 of them lost with the teacher alone"):
        certified(np.full(1000, 0.9), wrong_answers(right, right), limit=0.02)


def test_where_no_threshold_will_do_the_teacher_answers_all() -> None:
    never = disagreements(np.zeros(1000, dtype=bool))
    found = certified(np.full(1000, 1.0), never, limit=0.01)
    assert (found.threshold, found.deferred) == (DEFER_ALL, 1.0)


def test_the_promise_is_broken_in_at_most_delta_of_the_calibration_sets() -> None:
    """The student is lost on a share of (1 - level)² of the images of a level, so all risks are known exactly."""
    random, limit, delta, broken = np.random.default_rng(0), 0.02, 0.1, 0
    lost_share = (1 - LEVELS) ** 2
    for _ in range(1000):
        level = random.integers(0, 20, 500)
        lost = random.random(500) < lost_share[level]
        found = certified(LEVELS[level], disagreements(~lost), limit=limit, delta=delta)
        broken += np.where(found.threshold <= LEVELS, lost_share, 0).mean() > limit
    assert broken <= 1000 * delta + 3 * math.sqrt(1000 * delta * (1 - delta))
    assert broken > 0  # the test is not idle


def test_a_certificate_goes_through_json_and_back() -> None:
    found = certified(np.full(500, 0.9), disagreements(np.ones(500, dtype=bool)), limit=0.01)
    assert CascadeCertificate.from_dict(found.to_dict()) == found
    with pytest.raises(ValueError, match="not a cascade's certificate"):
        CascadeCertificate.from_dict({"goal": "worse"})


def test_the_curve_of_four_images_worked_by_hand() -> None:
    confidence, student, teacher = [0.9, 0.8, 0.8, 0.3], [True, True, False, False], [True, True, True, False]
    assert cascade_curve(confidence, np.array(student), np.array(teacher)) == [
        CascadePoint(DEFER_ALL, 1.0, 0.75),
        CascadePoint(0.9, 0.75, 0.75),
        CascadePoint(0.8, 0.25, 0.5),
        CascadePoint(0.3, 0.0, 0.5),
    ]


@pytest.mark.parametrize("limit", [0.005, 0.02])
def test_what_is_missing_is_what_the_table_of_needed_images_says(limit: float) -> None:
    needed = needed_images(1 - limit, 0.05)
    with pytest.raises(NotCertifiable, match=f"at least {needed} "):
        certified(np.ones(10), disagreements(np.ones(10, dtype=bool)), limit=limit, delta=0.05)


def test_the_answers_of_a_pair_are_named_by_both_graphs_and_their_order() -> None:
    # printf 'aa:fp32 bb:int8' | sha256sum
    assert pair_name("aa:fp32", "bb:int8") == "e07acac69860a88b5f1020e92afabdeb"
    assert pair_name("bb:int8", "aa:fp32") != pair_name("aa:fp32", "bb:int8")
