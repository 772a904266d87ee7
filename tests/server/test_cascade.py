"""A cascade: who answers which image, under which certificate, and what happens when the teacher cannot."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest

from pupil_proto.v1 import inference_pb2 as pb
from pupil_trust.cascade import cascade_certificate, disagreements

PATIENCE = 20.0
LIMIT, DELTA = 0.02, 0.05
STUDENT, TEACHER = 2, 1  # seeds of the weights


@pytest.fixture
def repository(tmp_path: Path, toolbox) -> Path:
    """A teacher, and a student of which the calibration set says that it is right where it is sure."""
    folder = tmp_path / "models"
    write_pair(folder, toolbox)
    return folder


def write_pair(folder: Path, toolbox, *, teacher_set: str = "a" * 64) -> None:
    images = toolbox.random_pixels(1000, seed=5)
    sure = toolbox.linear_scores(images, STUDENT)
    teacher = toolbox.write_bundle(folder, "teacher", seed=TEACHER)
    student = toolbox.write_bundle(folder, "student", seed=STUDENT, teacher="teacher")
    confidence, predicted = sure.max(axis=1), sure.argmax(axis=1)
    doubtful = confidence < np.quantile(confidence, 0.4)
    theirs = np.where(doubtful, (predicted + 1) % 3, predicted)
    theirs[:3] = (predicted[:3] + 1) % 3  # a few slips of the student where it is sure
    for bundle, says, name in ((student, predicted, "a" * 64), (teacher, theirs, teacher_set)):
        calibrate(bundle, toolbox, sha256=name, confidence=confidence, predicted=says, label=theirs)


def calibrate(bundle: Path, toolbox, **said) -> None:
    """Replaces what a bundle says of its calibration set."""
    plain = {key: each.tolist() if isinstance(each, np.ndarray) else each for key, each in said.items()}
    grid = np.unique(np.quantile(said["confidence"], np.arange(0, 1, 0.05), method="lower"))[::-1].tolist()
    (bundle / "calibration.json").write_text(json.dumps({**plain, "grid": grid, "grid_from": "pool"}))
    facts = json.loads((bundle / "bundle.json").read_text())
    toolbox.seal(bundle, facts)


def threshold_by_hand(student: Path, teacher: Path) -> float:
    """From the two files alone."""
    ours, theirs = (json.loads((bundle / "calibration.json").read_text()) for bundle in (student, teacher))
    agree = np.array(ours["predicted"]) == np.array(theirs["predicted"])
    promise = {"goal": "disagreement", "limit": LIMIT, "delta": DELTA, "student": "", "teacher": ""}
    return cascade_certificate(ours["confidence"], disagreements(agree), ours["grid"], **promise).threshold


def pixels_of(images) -> pb.Images:
    count, height, width, channels = images.shape
    return pb.Images(
        pixels=pb.Pixels(data=images.tobytes(), count=count, height=height, width=width, channels=channels)
    )


def ask(stubs, images: pb.Images, **cascade) -> pb.ClassifyResponse:
    wanted = pb.Cascade(**{"limit": LIMIT, "delta": DELTA, **cascade})
    request = pb.ClassifyRequest(model=pb.ModelSpec(name="student"), images=images, scores=True, cascade=wanted)
    return stubs.inference.Classify(request, timeout=PATIENCE)


def alone(stubs, model: str, images: pb.Images) -> list[list[float]]:
    request = pb.ClassifyRequest(model=pb.ModelSpec(name=model), images=images, scores=True)
    return [list(each.scores) for each in stubs.inference.Classify(request, timeout=PATIENCE).predictions]


def test_the_sure_images_are_the_students_and_the_others_the_teachers(start, connect, repository, toolbox) -> None:
    images = pixels_of(toolbox.random_pixels(100, seed=8))
    with start() as server:
        stubs = connect(server.address)
        answer = ask(stubs, images)
        ours, theirs = alone(stubs, "student", images), alone(stubs, "teacher", images)
    threshold = threshold_by_hand(repository / "student/1", repository / "teacher/1")
    assert answer.certificate.threshold == threshold
    assert answer.certificate.goal == pb.CASCADE_GOAL_DISAGREEMENT
    sure = [max(scores) >= threshold for scores in ours]
    assert 0 < sum(sure) < 100
    assert list(answer.routes) == [pb.ROUTE_STUDENT if each else pb.ROUTE_TEACHER for each in sure]
    for each, found, student, teacher in zip(sure, answer.predictions, ours, theirs, strict=True):
        assert np.allclose(found.scores, student if each else teacher, rtol=1e-5)
    assert (answer.answered_by.model, answer.teacher.model) == ("student", "teacher")
