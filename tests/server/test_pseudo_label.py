import json
import math
import queue
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import models_pb2

PATIENCE = 20.0
STUDENT = pb.ModelSpec(name="student")


def encoded(toolbox, pixels) -> pb.Images:
    return pb.Images(encoded=[toolbox.png(image) for image in pixels])


def ask(stubs, plan: pb.LabelPlan, *batches: pb.Images) -> list[pb.PseudoLabelResponse]:
    requests = [pb.PseudoLabelRequest(plan=plan), *(pb.PseudoLabelRequest(images=images) for images in batches)]
    return list(stubs.inference.PseudoLabel(iter(requests), timeout=PATIENCE))


def refused(stubs, *requests: pb.PseudoLabelRequest) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        list(stubs.inference.PseudoLabel(iter(requests), timeout=PATIENCE))
    return raised.value.code(), raised.value.details()


def test_labels_above_the_certified_threshold_are_accepted_and_the_rest_abstained(stubs, toolbox) -> None:
    pixels = toolbox.random_pixels(200, seed=21)
    plan = pb.LabelPlan(model=STUDENT, precision=0.95, delta=0.1, scores=True)
    batches = [encoded(toolbox, pixels[start : start + 50]) for start in range(0, 200, 50)]
    responses = ask(stubs, plan, *batches)
    certificate = responses[0].certificate
    assert (certificate.guarantee, certificate.precision, certificate.delta) == (pb.GUARANTEE_PAC, 0.95, 0.1)
    assert certificate.calibration == 400
    assert certificate.p_value <= 0.1
    assert not any(response.HasField("certificate") for response in responses[1:])
    labels = [label for response in responses for label in response.labels]
    expected = toolbox.linear_scores(pixels, seed=2)
    assert [label.prediction.top[0].index for label in labels] == expected.argmax(axis=1).tolist()
    assert [label.accepted for label in labels] == (expected.max(axis=1) >= certificate.threshold).tolist()
    assert np.array([label.prediction.scores for label in labels]) == pytest.approx(expected, abs=1e-5)


def test_a_confidence_a_hair_below_the_threshold_is_not_accepted(stubs, toolbox) -> None:
    image = encoded(toolbox, toolbox.random_pixels(1, seed=21))

    def label(threshold: float) -> pb.PseudoLabel:
        plan = pb.LabelPlan(model=STUDENT, guarantee=pb.GUARANTEE_FIXED, threshold=threshold)
        return ask(stubs, plan, image)[0].labels[0]

    confidence = label(0.0).prediction.top[0].score
    assert label(confidence).accepted
    assert not label(math.nextafter(confidence, 1)).accepted  # far less than a step of the scores, which are float32


def test_a_promise_that_cannot_be_kept_is_refused_with_what_it_would_take(stubs, toolbox) -> None:
    plan = pb.LabelPlan(model=STUDENT, precision=0.999, delta=0.05)
    code, details = refused(stubs, pb.PseudoLabelRequest(plan=plan))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "student/1: precision 0.999 at delta 0.05 needs at least 2995 accepted calibration images" in details


def test_a_bundle_without_calibration_certifies_nothing_but_labels_at_a_fixed_threshold(
    toolbox, tmp_path, connect
) -> None:
    bundle = toolbox.write_bundle(tmp_path / "repository", "student", seed=2)
    (bundle / "calibration.json").unlink()
    toolbox.seal(bundle, json.loads((bundle / "bundle.json").read_bytes()))
    pixels = toolbox.random_pixels(20, seed=1)
    with toolbox.run_server(tmp_path / "repository") as server:
        stubs = connect(server.address)
        code, details = refused(stubs, pb.PseudoLabelRequest(plan=pb.LabelPlan(model=STUDENT)))
        assert (code, details) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "student/1 was exported without a calibration set; label a random sample of the pool by hand and make a "
            "certificate from it: pupil certify",
        )
        plan = pb.LabelPlan(model=STUDENT, guarantee=pb.GUARANTEE_FIXED, threshold=0.3)
        (response,) = ask(stubs, plan, encoded(toolbox, pixels))
    sure = toolbox.linear_scores(pixels, seed=2).max(axis=1) >= 0.3
    assert [label.accepted for label in response.labels] == sure.tolist()


def test_without_a_promise_everything_is_accepted(stubs, toolbox) -> None:
    plan = pb.LabelPlan(model=STUDENT, guarantee=pb.GUARANTEE_NONE)
    (response,) = ask(stubs, plan, encoded(toolbox, toolbox.random_pixels(9, seed=0)))
    assert [label.accepted for label in response.labels] == [True] * 9


def test_an_unreadable_image_is_answered_in_its_place_and_the_stream_goes_on(stubs, toolbox) -> None:
    whole = toolbox.png(toolbox.random_pixels(1, seed=0)[0])
    plan = pb.LabelPlan(model=STUDENT, guarantee=pb.GUARANTEE_NONE)
    broken, only_broken, after = ask(
        stubs,
        plan,
        pb.Images(encoded=[whole, b"rubbish", whole]),
        pb.Images(encoded=[b""]),
        pb.Images(encoded=[whole]),
    )
    assert [label.accepted for label in broken.labels] == [True, False, True]
    assert broken.labels[1].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert not broken.labels[1].HasField("prediction")
    assert only_broken.labels[0].error.message == "no bytes"
    assert after.labels[0].accepted


def test_the_expected_share_of_wrong_labels_is_judged_over_the_whole_pool(stubs, toolbox) -> None:
    pixels = toolbox.random_pixels(300, seed=33)
    plan = pb.LabelPlan(model=STUDENT, guarantee=pb.GUARANTEE_FDR, precision=0.95)
    batches = [encoded(toolbox, pixels[start : start + 100]) for start in range(0, 300, 100)]
    batches[1].encoded.insert(7, b"rubbish")
    responses = ask(stubs, plan, *batches)
    labels = [label for response in responses for label in response.labels if not label.HasField("error")]

    # Benjamini and Hochberg by hand, on conformal p-values with ties counted against the pool.
    confidence = toolbox.linear_scores(pixels, seed=2).max(axis=1)
    calibration = toolbox.linear_scores(toolbox.random_pixels(400, seed=7), seed=2).max(axis=1)
    wrong = calibration[np.arange(400) % 100 == 0]
    p_values = [(1 + sum(wrong >= value)) / 401 for value in confidence]
    ranked = sorted(p_values)
    passed = [value for rank, value in enumerate(ranked, start=1) if value <= 0.05 * rank / 300]
    expected = [value <= max(passed, default=-1.0) for value in p_values]
    assert sum(expected) > 0
    assert [label.accepted for label in labels] == expected
    assert responses[0].certificate.guarantee == pb.GUARANTEE_FDR


@pytest.mark.parametrize(
    ("requests", "says"),
    [
        ([pb.PseudoLabelRequest(images=pb.Images(encoded=[b"x"]))], "plan: missing"),
        ([], "plan: missing"),
        ([pb.PseudoLabelRequest(plan=pb.LabelPlan(model=STUDENT, precision=1.5))], "plan.precision: 1.5"),
        ([pb.PseudoLabelRequest(plan=pb.LabelPlan(model=STUDENT, delta=-0.1))], "plan.delta: -0.1"),
        ([pb.PseudoLabelRequest(plan=pb.LabelPlan(model=STUDENT, precision=float("nan")))], "plan.precision: nan"),
        ([pb.PseudoLabelRequest(plan=pb.LabelPlan(model=STUDENT, guarantee=3, threshold=2))], "plan.threshold: 2.0"),
        ([pb.PseudoLabelRequest(plan=pb.LabelPlan(model=STUDENT, guarantee=77))], "plan.guarantee: 77 is not known"),
        (
            [pb.PseudoLabelRequest(plan=pb.LabelPlan(model=STUDENT, guarantee=4))] * 2,
            "only the first request of a stream may carry one",
        ),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(stubs, requests, says: str) -> None:
    code, details = refused(stubs, *requests)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert says in details


def test_an_unknown_model_is_refused_before_any_image(stubs) -> None:
    plan = pb.LabelPlan(model=pb.ModelSpec(name="nobody"))
    assert refused(stubs, pb.PseudoLabelRequest(plan=plan))[0] == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("guarantee", [pb.GUARANTEE_PAC, pb.GUARANTEE_FDR, pb.GUARANTEE_NONE])
def test_a_stream_without_images_is_answered_by_the_certificate_alone(stubs, guarantee) -> None:
    plan = pb.LabelPlan(model=STUDENT, guarantee=guarantee, precision=0.95, delta=0.1)
    (response,) = ask(stubs, plan)
    assert list(response.labels) == []
    assert (response.certificate.guarantee, response.certificate.calibration) == (guarantee, 400)
    assert response.certificate.fingerprint == response.answered_by.fingerprint


def test_a_stream_ends_with_the_version_that_it_began_with_though_another_takes_over(
    start, connect, toolbox, repository, becomes
) -> None:
    toolbox.write_bundle(repository, "student", 2, seed=5)
    pixels = toolbox.random_pixels(8, seed=3)
    images: queue.Queue[pb.Images | None] = queue.Queue()
    plan = pb.LabelPlan(model=pb.ModelSpec(name="student", version=1), guarantee=pb.GUARANTEE_NONE)

    def requests():
        yield pb.PseudoLabelRequest(plan=plan)
        while (sent := images.get(timeout=PATIENCE)) is not None:
            yield pb.PseudoLabelRequest(images=sent)

    with start() as server, ThreadPoolExecutor(1) as threads:
        stubs = connect(server.address)
        stubs.models.Load(models_pb2.LoadModelRequest(name="student", version=1), timeout=PATIENCE)
        labels = stubs.inference.PseudoLabel(requests(), timeout=PATIENCE)
        images.put(encoded(toolbox, pixels[:4]))
        answers = [next(labels)]
        swap = threads.submit(stubs.models.Load, models_pb2.LoadModelRequest(name="student"), timeout=PATIENCE)
        newest = models_pb2.GetModelRequest(model=STUDENT)
        becomes(lambda: stubs.models.Get(newest, timeout=PATIENCE).version == 2)
        images.put(encoded(toolbox, pixels[4:]))
        answers.append(next(labels))
        images.put(None)
        assert list(labels) == []
        assert swap.result(PATIENCE).version == 2
        listed = stubs.models.List(models_pb2.ListModelsRequest(), timeout=PATIENCE).models
    assert [answer.answered_by.version for answer in answers] == [1, 1]
    found = [label.prediction.top[0].index for answer in answers for label in answer.labels]
    assert found == toolbox.linear_scores(pixels, seed=2).argmax(axis=1).tolist()
    states = {info.version: info.state for info in listed if info.name == "student"}
    assert states == {1: models_pb2.STATE_UNLOADED, 2: models_pb2.STATE_READY}
