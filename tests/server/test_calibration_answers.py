"""What a server says about its calibration set, so that a pool can be compared with it."""

import json

import numpy as np
import pytest

from pupil_proto.v1 import inference_pb2 as pb
from pupil_server.certificates import MOST_TOLD, calibration_message
from pupil_trust import Calibration


def plan(guarantee, **settings):
    model = pb.ModelSpec(name="teacher")
    return pb.PseudoLabelRequest(plan=pb.LabelPlan(model=model, guarantee=guarantee, precision=0.9, **settings))


@pytest.mark.parametrize("guarantee", [pb.GUARANTEE_PAC, pb.GUARANTEE_FDR])
def test_who_asks_is_told_the_answers_of_the_calibration_set_in_the_first_response(repository, stubs, guarantee):
    first = next(stubs.inference.PseudoLabel(iter([plan(guarantee, calibration=True)])))
    kept = json.loads((repository / "teacher/1/calibration.json").read_text())
    assert first.calibration.confidence == pytest.approx(sorted(kept["confidence"]))
    assert list(first.calibration.predicted) == np.bincount(kept["predicted"], minlength=8).tolist()


def test_who_does_not_ask_is_not_told(stubs):
    assert not next(stubs.inference.PseudoLabel(iter([plan(pb.GUARANTEE_PAC)]))).HasField("calibration")


def test_of_a_very_large_set_a_bounded_even_draw_is_told():
    random = np.random.default_rng(0)
    confidence, predicted = random.beta(9, 1, 200_000), random.integers(0, 3, 200_000)
    calibration = Calibration(confidence, np.ones(200_000, dtype=np.bool_), np.array([0.0]))
    told = calibration_message(calibration, predicted, 4)
    assert len(told.confidence) == sum(told.predicted) == MOST_TOLD
    shares = np.linspace(0, 1, 101)
    np.testing.assert_allclose(np.quantile(told.confidence, shares), np.quantile(confidence, shares), atol=1e-4)
    np.testing.assert_allclose(np.array(told.predicted[:3]) / MOST_TOLD, 1 / 3, atol=0.01)
    assert told.predicted[3] == 0
