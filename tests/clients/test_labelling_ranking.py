"""The pool that is ranked here is ranked as `pupil_trust` ranks it with the calibration set at hand."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pupil_client.labelling.ranking import fdr_certificate
from pupil_client.results import Certificate
from pupil_trust import Calibration, fdr_accept, fixed_certificate

COARSE = st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0])  # ties between the pool and the set
CONFIDENCE = st.one_of(COARSE, st.floats(0, 1, width=32))


def server_with(calibration):
    """What a server says of a threshold, and how often it was asked."""
    asked = []

    def certificate_at(threshold):
        asked.append(threshold)
        found = fixed_certificate(calibration, threshold=threshold, fingerprint="9f")
        return Certificate(**found.to_dict())

    return certificate_at, asked


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(CONFIDENCE, st.booleans()), min_size=40, max_size=80),
    st.lists(CONFIDENCE, max_size=60),
    st.sampled_from([0.5, 0.8, 0.9, 0.95]),
)
def test_it_accepts_what_fdr_accept_accepts(labelled, pool, precision):
    confidence, correct = (np.array(column) for column in zip(*labelled, strict=True))
    calibration = Calibration(confidence.astype(float), correct.astype(bool), np.array([0.5]))
    wanted, certificate = fdr_accept(calibration, pool, precision=precision, fingerprint="9f")
    found = fdr_certificate(pool, precision=precision, certificate_at=server_with(calibration)[0])
    assert [each >= found.threshold for each in pool] == wanted.tolist()
    assert asdict(found) == certificate.to_dict()


@pytest.mark.parametrize("precision", [0.9, 0.95, 0.99])
def test_a_million_images_take_few_hundred_questions_at_most(precision):
    rng = np.random.default_rng(3)
    confidence = rng.beta(5, 1, 2000)
    calibration = Calibration(confidence, rng.random(2000) < confidence, np.array([0.5]))
    certificate_at, asked = server_with(calibration)
    pool = rng.beta(5, 1, 1_000_000)
    found = fdr_certificate(pool.tolist(), precision=precision, certificate_at=certificate_at)
    assert found.threshold == fdr_accept(calibration, pool, precision=precision, fingerprint="9f")[1].threshold
    assert len(asked) < 300
