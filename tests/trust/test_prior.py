import numpy as np
import pytest
from scipy.special import softmax

from pupil_trust import prior_shift


def test_the_shifted_mean_is_the_prior() -> None:
    logits = np.random.default_rng(0).normal([0, 1, 2, -6], 3, (500, 4))
    prior = np.array([0.1, 0.2, 0.3, 0.4])
    shift = prior_shift(logits, prior)
    assert softmax(logits + shift, axis=1).mean(axis=0) == pytest.approx(prior, abs=1e-4)
    assert shift.mean() == pytest.approx(0, abs=1e-9)


def test_two_classes_are_shifted_as_worked_by_hand() -> None:
    shift = prior_shift(np.zeros((7, 2)), [0.8, 0.2])  # softmax([s, -s]) = 0.8 where 2s = log 4
    assert shift == pytest.approx([np.log(2), -np.log(2)], abs=1e-4)


def test_scores_that_have_the_prior_already_stay() -> None:
    logits = np.random.default_rng(1).normal(0, 2, (100, 3))
    assert prior_shift(logits, softmax(logits, axis=1).mean(axis=0)) == pytest.approx(np.zeros(3), abs=1e-3)


@pytest.mark.parametrize(
    ("logits", "prior", "message"),
    [
        (np.zeros((2, 3)), [0.5, 0.5], "prior"),
        (np.zeros((0, 2)), [0.5, 0.5], "are wanted"),
        (np.full((2, 2), np.nan), [0.5, 0.5], "NaN"),
        (np.zeros((2, 2)), [0.5, 0.6], "sums to 1.1"),
    ],
)
def test_what_cannot_be_shifted_is_refused(logits: np.ndarray, prior: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prior_shift(logits, prior)
