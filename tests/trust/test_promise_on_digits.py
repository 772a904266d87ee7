"""The promises on real pictures: scikit-learn's digits, a model that saw 150 of them, 200 ways to split the rest."""

import math

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from pupil_trust import Calibration, NotCertifiable, fdr_accept, pac_certificate, pool_grid

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
