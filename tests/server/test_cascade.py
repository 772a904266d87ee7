"""A cascade: who answers which image, under which certificate, and what happens when the teacher cannot."""

import asyncio
import json
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest

from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import models_pb2
from pupil_server.call import Call
from pupil_server.cascade import CascadeHandler
from pupil_server.decoding import Decoder
from pupil_server.errors import DeadlineExceeded, Overloaded, Unavailable
from pupil_server.images import Limits
from pupil_server.metrics import Metrics
from pupil_server.repository import Repository
from pupil_server.settings import ServerSettings
from pupil_trust.cascade import cascade_certificate, disagreements

PATIENCE = 20.0
LIMIT, DELTA = 0.02, 0.05
STUDENT, TEACHER = 2, 1  # seeds of the weights


@pytest.fixture
def repository(tmp_path: Path, toolbox) -> Path:
    return write_pair(tmp_path / "models", toolbox)


@pytest.fixture(scope="module")
def served(front: str, toolbox, tmp_path_factory: pytest.TempPathFactory):
    """One server of the pair for every test that leaves it as it is."""
    with toolbox.run_server(
        write_pair(tmp_path_factory.mktemp("pair") / "models", toolbox), "--front", front
    ) as server:
        yield server


@pytest.fixture
def pair(served, connect):
    return connect(served.address)


def write_pair(folder: Path, toolbox) -> Path:
    """A teacher, and a student that says the same where it is sure, three images apart, and mostly not elsewhere."""
    images = toolbox.random_pixels(1000, seed=5)
    sure = toolbox.linear_scores(images, STUDENT)
    teacher = toolbox.write_bundle(folder, "teacher", seed=TEACHER)
    student = toolbox.write_bundle(folder, "student", seed=STUDENT, teacher="teacher")
    confidence, predicted = sure.max(axis=1), sure.argmax(axis=1)
    doubtful = confidence < np.quantile(confidence, 0.4)
    theirs = np.where(doubtful, (predicted + 1) % 3, predicted)
    surest = np.argsort(-confidence)[:3]
    theirs[surest] = (predicted[surest] + 1) % 3
    for bundle, says in ((student, predicted), (teacher, theirs)):
        calibrate(bundle, toolbox, sha256="a" * 64, confidence=confidence, predicted=says, label=theirs)
    return folder


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
    return cascade_certificate(ours["confidence"], disagreements(agree), **promise).threshold


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


def test_the_sure_images_are_the_students_and_the_others_the_teachers(pair, repository, toolbox) -> None:
    seen = toolbox.random_pixels(100, seed=8)
    answer, ours = ask(pair, pixels_of(seen)), alone(pair, "student", pixels_of(seen))
    threshold = threshold_by_hand(repository / "student/1", repository / "teacher/1")
    assert answer.certificate.threshold == threshold
    assert answer.certificate.goal == pb.CASCADE_GOAL_DISAGREEMENT
    sure = [max(scores) >= threshold for scores in ours]
    assert 0 < sum(sure) < 100
    theirs = iter(alone(pair, "teacher", pixels_of(seen[~np.array(sure)])))
    assert list(answer.routes) == [pb.ROUTE_STUDENT if each else pb.ROUTE_TEACHER for each in sure]
    expected = [scores if each else next(theirs) for each, scores in zip(sure, ours, strict=True)]
    assert [list(each.scores) for each in answer.predictions] == expected
    assert (answer.answered_by.model, answer.teacher.model) == ("student", "teacher")


def test_a_stream_routes_each_request_and_the_metric_counts_the_images(start, connect, repository, toolbox) -> None:
    images = toolbox.random_pixels(40, seed=9)
    spec = pb.ModelSpec(name="student")
    asked = [
        pb.ClassifyRequest(model=spec, images=pixels_of(some), cascade=pb.Cascade(limit=LIMIT))
        for some in np.split(images, 4)
    ]
    with start() as server:
        stubs = connect(server.address)
        answers = list(stubs.inference.ClassifyStream(iter(asked), timeout=PATIENCE))
        metrics = urllib.request.urlopen(f"http://{server.http}/metrics", timeout=PATIENCE).read().decode()
    routes = [route for answer in answers for route in answer.routes]
    assert len(routes) == 40
    for name, route in (("student", pb.ROUTE_STUDENT), ("teacher", pb.ROUTE_TEACHER)):
        assert f'pupil_cascade_routes_total{{route="{name}"}} {float(routes.count(route))}' in metrics


def test_a_student_that_may_never_answer_leaves_everything_to_its_teacher(pair, toolbox) -> None:
    images = pixels_of(toolbox.random_pixels(10, seed=8))
    answer = ask(pair, images, limit=0.003)  # 1,000 images prove that of no loss, and three are lost at the top
    assert (answer.certificate.deferred, answer.certificate.lost) == (1, 0)
    assert list(answer.routes) == [pb.ROUTE_TEACHER] * 10
    assert [list(each.scores) for each in answer.predictions] == alone(pair, "teacher", images)


def test_a_teacher_of_another_size_is_shown_the_files(start, connect, repository, toolbox) -> None:
    golden = repository / "teacher/1/golden/golden.json"
    golden.write_text(json.dumps({**json.loads(golden.read_text()), "tolerance": 1.0}))
    facts = json.loads((repository / "teacher/1/bundle.json").read_text())
    facts["resize"]["shortest_side"] = 12  # of a 6×6 image, its middle enlarged
    toolbox.seal(repository / "teacher/1", facts)
    seen = toolbox.random_pixels(30, seed=8)
    images = pb.Images(encoded=[toolbox.png(each) for each in seen])
    with start() as server:
        stubs = connect(server.address)
        answer, theirs = ask(stubs, images), alone(stubs, "teacher", images)
        with pytest.raises(grpc.RpcError) as raised:
            ask(stubs, pixels_of(seen))
    for route, found, teacher in zip(answer.routes, answer.predictions, theirs, strict=True):
        assert (route == pb.ROUTE_TEACHER) == np.allclose(found.scores, teacher, rtol=1e-5)
    assert raised.value.details() == "pixels: student/1 and teacher/1 want different ones; send the images encoded"


@pytest.mark.parametrize(
    ("cascade", "code", "says"),
    [
        ({"limit": 0.001}, "FAILED_PRECONDITION", "at least 2995 calibration images"),
        ({"goal": pb.CASCADE_GOAL_ACCURACY, "teacher": pb.ModelSpec(name="nobody")}, "NOT_FOUND", "no model nobody"),
        ({"limit": 1.5}, "INVALID_ARGUMENT", "cascade.limit: 1.5; a number between 0 and 1 is wanted"),
        ({"delta": float("nan")}, "INVALID_ARGUMENT", "cascade.delta: nan"),
        ({"goal": 9}, "INVALID_ARGUMENT", "cascade.goal: 9 is not known"),
    ],
)
def test_what_cannot_be_promised_is_refused_with_the_reason(pair, cascade, code, says, toolbox) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        ask(pair, pixels_of(toolbox.random_pixels(1, seed=8)), **cascade)
    assert raised.value.code().name == code
    assert says in raised.value.details()


def test_a_new_teacher_that_was_calibrated_on_other_images_is_refused(start, connect, repository, toolbox) -> None:
    images = pixels_of(toolbox.random_pixels(5, seed=8))
    with start() as server:
        stubs = connect(server.address)
        ask(stubs, images)
        newer = toolbox.write_bundle(repository, "teacher", 2, seed=3)  # whose calibration set has another SHA-256
        stubs.models.Load(models_pb2.LoadModelRequest(name="teacher"), timeout=PATIENCE)
        with pytest.raises(grpc.RpcError) as raised:
            ask(stubs, images)
    assert newer.exists()
    assert raised.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert raised.value.details() == (
        "student/1 and teacher/2 were calibrated on different images; export both with one calibration set, or ask "
        "both about images that trained neither: pupil cascade STUDENT TEACHER --images FOLDER"
    )


def test_bundles_that_name_one_calibration_set_and_list_two_are_refused(start, connect, repository, toolbox) -> None:
    file = repository / "teacher/1/calibration.json"
    said = json.loads(file.read_text())
    file.write_text(json.dumps({**said, **{key: said[key][:3] for key in ("confidence", "predicted", "label")}}))
    toolbox.seal(file.parent, json.loads((file.parent / "bundle.json").read_text()))
    with start() as server, pytest.raises(grpc.RpcError) as raised:
        ask(connect(server.address), pixels_of(toolbox.random_pixels(1, seed=8)))
    assert raised.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "calibrated on different images" in raised.value.details()


def test_swaps_of_both_under_load_fail_no_call_and_each_image_is_answered_by_those_that_are_named(
    start, connect, repository, toolbox, becomes
) -> None:
    seeds = {"student": {1: STUDENT, 2: 12}, "teacher": {1: TEACHER, 2: 11}}
    for name in seeds:  # the second version has other weights, and says the same of the calibration images
        newer = toolbox.write_bundle(repository, name, 2, seed=seeds[name][2], teacher={"student": "teacher"}.get(name))
        (newer / "calibration.json").write_bytes((repository / name / "1/calibration.json").read_bytes())
        toolbox.seal(newer, json.loads((newer / "bundle.json").read_text()))
    threshold = threshold_by_hand(repository / "student/1", repository / "teacher/1")
    images = toolbox.random_pixels(20, seed=8)
    expected = {name: {v: toolbox.linear_scores(images, seed) for v, seed in of.items()} for name, of in seeds.items()}
    enough, answered = threading.Event(), [{"student": 2, "teacher": 2}]

    def call_again_and_again(stubs) -> None:
        while not enough.is_set():
            answer = ask(stubs, pixels_of(images))
            ours = expected["student"][answer.answered_by.version]
            theirs = expected["teacher"][answer.teacher.version]
            sure = ours.max(axis=1) >= threshold
            assert list(answer.routes) == [pb.ROUTE_STUDENT if each else pb.ROUTE_TEACHER for each in sure]
            found = np.array([each.scores for each in answer.predictions])
            assert np.allclose(found, np.where(sure[:, None], ours, theirs), atol=1e-5)
            answered.append({each.model: each.version for each in (answer.answered_by, answer.teacher)})

    with start() as server, ThreadPoolExecutor(3) as callers:
        stubs = connect(server.address)
        calls = [callers.submit(call_again_and_again, stubs) for _ in range(3)]
        try:
            for swap in range(12):
                name, version = ("student", "teacher")[swap % 2], 1 + swap // 2 % 2
                stubs.models.Load(models_pb2.LoadModelRequest(name=name, version=version), timeout=PATIENCE)
                becomes(lambda: answered[-1][name] == version)  # noqa: B023  called now
        finally:
            enough.set()
        for each in calls:
            each.result(PATIENCE)
    assert len({(each["student"], each["teacher"]) for each in answered}) == 4


@pytest.mark.parametrize(
    ("error", "route"),
    [
        (Overloaded("full", retry_after=1.0), pb.ROUTE_STUDENT_OVERLOADED),
        (DeadlineExceeded("too late"), pb.ROUTE_STUDENT_LATE),
        (Unavailable("unloaded"), pb.ROUTE_STUDENT_UNAVAILABLE),
    ],
)
def test_where_the_teacher_cannot_answer_in_time_the_student_does_and_says_so(
    repository, toolbox, error, route
) -> None:
    images = pixels_of(toolbox.random_pixels(20, seed=8))
    request = pb.ClassifyRequest(model=pb.ModelSpec(name="student"), images=images, cascade=pb.Cascade(limit=LIMIT))

    async def whole() -> None:
        metrics = Metrics()
        decoder = Decoder(Limits(1_000_000, 1_000_000), threads=1, metrics=metrics)
        served = Repository(ServerSettings(repository=repository, device="cpu"), decoder, metrics)
        await served.load_at_start()
        call = Call("Classify", time.monotonic() + PATIENCE)

        async def predict_pixels(pixels, hurried) -> None:
            assert hurried.deadline < call.deadline  # or the student's answer would come too late as well
            raise error

        served.get(pb.ModelSpec(name="teacher")).predict_pixels = predict_pixels
        answer = await CascadeHandler(served, metrics).classify(request, call)
        student = await served.get(request.model).predict(images, call)
        assert [each.top[0].index for each in answer.predictions] == student.outputs.scores.argmax(axis=1).tolist()
        assert set(answer.routes) == {pb.ROUTE_STUDENT, route}
        assert not answer.HasField("teacher")
        await served.close()
        decoder.close()

    asyncio.run(whole())
