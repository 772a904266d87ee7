"""The promises on real pictures: scikit-learn's digits, a model that saw 150 of them, 200 ways to split the rest."""

import math

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from pupil_trust import (
    Calibration,
    NotCertifiable,
    cascade_certificate,
    fdr_accept,
    losses_of,
    pac_certificate,
    pool_grid,
)

TRAIN, CALIBRATION, SPLITS = 150, 500, 200
DELTA = 0.1


@pytest.fixture(scope="module")
def answers():
    """Confidences (N,) on pictures that the model has not seen, and whether each was right (N,)."""
    scans, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    train, rest = order[:TRAIN], order[TRAIN:]
    model = LogisticRegression(max_iter=1000).fit(scans[train] / 16, labels[train])
    scores = model.predict_proba(scans[rest] / 16)
    return scores.max(axis=1), model.classes_[scores.argmax(axis=1)] == labels[rest]


def splits(answers):
    """The calibration set's evidence, and the pool's confidences and truth, once for each of the splits."""
    confidence, correct = answers
    random = np.random.default_rng(1)
    for _ in range(SPLITS):
        order = random.permutation(len(confidence))
        ours, pool = order[:CALIBRATION], order[CALIBRATION:]
        yield Calibration(confidence[ours], correct[ours], pool_grid(confidence[pool])), confidence[pool], correct[pool]


@pytest.mark.parametrize("precision", [0.95, 0.98])
def test_pac_is_broken_in_at_most_delta_of_the_splits_and_accepts_some(answers, precision):
    broken, coverage = 0, []
    for calibration, confidence, correct in splits(answers):
        try:
            certificate = pac_certificate(calibration, precision=precision, delta=DELTA, fingerprint="")
        except NotCertifiable:
            coverage.append(0.0)
            continue
        accepted = confidence >= certificate.threshold
        broken += correct[accepted].mean() < precision
        coverage.append(accepted.mean())
    assert broken / SPLITS <= DELTA + 3 * math.sqrt(DELTA * (1 - DELTA) / SPLITS)
    assert np.mean(coverage) > 0.2


def test_fdr_keeps_its_share_on_average_over_the_splits(answers):
    wrong = []
    for calibration, confidence, correct in splits(answers):
        accepted, _ = fdr_accept(calibration, confidence, precision=0.95, fingerprint="")
        wrong.append(1 - correct[accepted].mean() if accepted.any() else 0.0)
    assert np.mean(wrong) <= 0.05 + 3 * np.std(wrong) / math.sqrt(SPLITS)


@pytest.fixture(scope="module")
def pair():
    """A student's confidence (N,), what it and its teacher said and what was right, on pictures new to both."""
    scans, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    rest = order[4 * TRAIN :]
    student = LogisticRegression(max_iter=1000).fit(scans[order[:TRAIN]] / 16, labels[order[:TRAIN]])
    teacher = SVC().fit(scans[order[: 4 * TRAIN]] / 16, labels[order[: 4 * TRAIN]])
    scores = student.predict_proba(scans[rest] / 16)
    return scores.max(axis=1), student.predict(scans[rest] / 16), teacher.predict(scans[rest] / 16), labels[rest]


@pytest.mark.parametrize(("goal", "limit"), [("disagreement", 0.03), ("worse", 0.025), ("accuracy", 0.045)])
def test_a_cascade_loses_more_than_its_limit_in_at_most_delta_of_the_calibration_sets(pair, goal, limit):
    """Calibration sets are drawn from all the pictures, with repetition, so the share that is lost is known exactly.

    The limits lie just below what the next threshold loses: whoever takes the counts for the truth breaks four in ten.
    """
    confidence, *classes = pair
    by_student, by_teacher = losses_of(goal, *classes)
    random, broken, deferred = np.random.default_rng(1), 0, []
    for _ in range(SPLITS):
        ours = random.integers(0, len(confidence), CALIBRATION)
        losses = losses_of(goal, *(each[ours] for each in classes))
        try:
            certificate = cascade_certificate(
                confidence[ours], losses, goal=goal, limit=limit, delta=DELTA, student="", teacher=""
            )
        except NotCertifiable:
            continue
        answers = confidence >= certificate.threshold
        broken += np.where(answers, by_student, by_teacher).mean() > limit
        deferred.append(1 - answers.mean())
    assert 0 < broken / SPLITS <= DELTA + 3 * math.sqrt(DELTA * (1 - DELTA) / SPLITS)
    assert len(deferred) > SPLITS / 2
    assert np.mean(deferred) < 0.3
