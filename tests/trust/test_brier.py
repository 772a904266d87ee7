import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from pupil_trust import brier_score


def test_two_images_worked_by_hand() -> None:
    # (0.2² + 0.2²) and (0.9² + 0.9²)
    assert brier_score([[0.8, 0.2], [0.9, 0.1]], [0, 1]) == pytest.approx((0.08 + 1.62) / 2)


def test_it_is_scikit_learns_over_several_classes() -> None:
    random = np.random.default_rng(0)
    scores, labels = random.dirichlet(np.ones(5), 200), random.integers(0, 5, 200)
    reference = brier_score_loss(labels, scores, labels=range(5), scale_by_half=False)
    assert brier_score(scores, labels) == pytest.approx(reference)


def test_it_runs_from_sure_and_right_to_sure_and_wrong() -> None:
    assert brier_score(np.eye(3), [0, 1, 2]) == 0
    assert brier_score(np.eye(3), [1, 2, 0]) == 2


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([], [], "at least one image and two classes"),
        ([[1.0]], [0], "at least one image and two classes"),
        ([[0.5, 0.6]], [0], "no distributions"),
        ([[1.5, -0.5]], [0], "no distributions"),
        ([[np.nan, 1.0]], [0], "no distributions"),
        ([[0.5, 0.5]], [2], "0 to 1 is wanted"),
        ([[0.5, 0.5]], [0, 1], "1 whole numbers"),
    ],
)
def test_what_is_no_distribution_is_refused(scores: list[list[float]], labels: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        brier_score(scores, labels)
