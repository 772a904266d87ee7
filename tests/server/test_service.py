import queue
import struct
import urllib.request
import zlib

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import models_pb2

STUDENT = pb.ModelSpec(name="student")
PATIENCE = 20.0  # seconds; far more than any call here takes


def raw(pixels) -> pb.Images:
    count, height, width, channels = pixels.shape
    return pb.Images(
        pixels=pb.Pixels(data=pixels.tobytes(), count=count, height=height, width=width, channels=channels)
    )


def two_bytes(**shape: int) -> pb.Images:
    return pb.Images(pixels=pb.Pixels(data=b"12", count=1, **shape))


def status_of(call, *args, **kwargs) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        call(*args, timeout=PATIENCE, **kwargs)
    return raised.value.code(), raised.value.details()


def test_a_request_that_is_refused_for_one_image_costs_the_model_nothing(server, stubs, toolbox) -> None:
    images = pb.Images(encoded=[toolbox.png(toolbox.random_pixels(1, seed=3)[0]), b"no picture"])
    before = images_computed(server)
    code, details = status_of(stubs.inference.Classify, pb.ClassifyRequest(model=STUDENT, images=images))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith("image 2 of 2: ")
    assert images_computed(server) == before


def images_computed(server) -> float:
    with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=PATIENCE) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("pupil_batch_images_sum"))


def test_encoded_and_raw_images_get_the_scores_that_the_weights_give(stubs, toolbox) -> None:
    pixels = toolbox.random_pixels(5, seed=3)
    expected = toolbox.linear_scores(pixels, seed=2)
    encoded = pb.Images(encoded=[toolbox.png(image) for image in pixels])
    for images in (raw(pixels), encoded):
        answer = stubs.inference.Classify(
            pb.ClassifyRequest(model=STUDENT, images=images, top_k=3, scores=True), timeout=PATIENCE
        )
        scores = np.array([prediction.scores for prediction in answer.predictions])
        assert scores == pytest.approx(expected, abs=1e-5)
        for prediction, row in zip(answer.predictions, expected, strict=True):
            best = np.argsort(-row)[:3]
            assert [top.index for top in prediction.top] == best.tolist()
            assert [top.label for top in prediction.top] == [toolbox.classes[index] for index in best]
            assert [top.score for top in prediction.top] == pytest.approx(row[best], abs=1e-5)


def test_the_answer_says_who_gave_it_and_what_it_took(stubs, toolbox) -> None:
    request = pb.ClassifyRequest(model=STUDENT, images=raw(toolbox.random_pixels(1, seed=0)))
    answered = stubs.inference.Classify(request, timeout=PATIENCE).answered_by
    info = stubs.models.Get(models_pb2.GetModelRequest(model=STUDENT), timeout=PATIENCE)
    assert (answered.model, answered.version, answered.precision) == ("student", 1, "fp32")
    assert answered.fingerprint == info.fingerprint
    assert answered.compute_seconds > 0
    assert answered.queue_seconds >= 0


def test_without_top_k_only_the_best_class_is_told_and_too_large_a_top_k_is_all_classes(stubs, toolbox) -> None:
    for top_k, classes in ((0, 1), (100, 8)):
        request = pb.ClassifyRequest(model=STUDENT, images=raw(toolbox.random_pixels(1, seed=0)), top_k=top_k)
        (prediction,) = stubs.inference.Classify(request, timeout=PATIENCE).predictions
        assert (len(prediction.top), len(prediction.scores)) == (classes, 0)


def test_a_thousand_images_in_one_request_come_back_in_order(stubs, toolbox) -> None:
    pixels = toolbox.random_pixels(1000, seed=4)
    answer = stubs.inference.Classify(
        pb.ClassifyRequest(model=STUDENT, images=raw(pixels), scores=True), timeout=PATIENCE
    )
    scores = np.array([prediction.scores for prediction in answer.predictions])
    assert scores == pytest.approx(toolbox.linear_scores(pixels, seed=2), abs=1e-5)


@pytest.mark.parametrize(
    ("request_", "code", "says"),
    [
        (pb.ClassifyRequest(model=STUDENT), "INVALID_ARGUMENT", "images: none"),
        (pb.ClassifyRequest(), "NOT_FOUND", "loaded: student/1, teacher/1"),
        (pb.ClassifyRequest(model=pb.ModelSpec(name="nobody")), "NOT_FOUND", "no model nobody; loaded: student/1"),
        (pb.ClassifyRequest(model=pb.ModelSpec(name="student", version=9)), "NOT_FOUND", "no model student/9"),
        (pb.ClassifyRequest(model=pb.ModelSpec(name="student", alias="gold")), "NOT_FOUND", "no alias 'gold'"),
        (pb.ClassifyRequest(model=pb.ModelSpec(name="../x", alias="y")), "NOT_FOUND", "no alias 'y'"),
        (pb.ClassifyRequest(model=STUDENT, images=pb.Images(encoded=[b"GIF89a"])), "INVALID_ARGUMENT", "image 1 of 1"),
        (
            pb.ClassifyRequest(model=STUDENT, images=two_bytes(height=1, width=2, channels=1)),
            "INVALID_ARGUMENT",
            "pixels: 1×2×1, the model wants 6×6×3",
        ),
        (
            pb.ClassifyRequest(model=STUDENT, images=two_bytes(height=6, width=6, channels=3)),
            "INVALID_ARGUMENT",
            "2 bytes, 1 × 6×6×3 take 108",
        ),
        (
            pb.ClassifyRequest(model=STUDENT, images=pb.Images(encoded=[b"x"], pixels=pb.Pixels(count=1))),
            "INVALID_ARGUMENT",
            "both encoded and pixels",
        ),
        (
            pb.ClassifyRequest(
                model=STUDENT, images=pb.Images(pixels=pb.Pixels(count=4_000_000_000, height=6, width=6, channels=3))
            ),
            "INVALID_ARGUMENT",
            "at most 4,096",
        ),
    ],
)
def test_a_bad_request_is_told_what_was_found_and_what_is_wanted(stubs, request_, code: str, says: str) -> None:
    found, details = status_of(stubs.inference.Classify, request_)
    assert found == grpc.StatusCode[code]
    assert says in details


def test_the_broken_image_of_a_request_is_named(stubs, toolbox) -> None:
    whole = toolbox.png(toolbox.random_pixels(1, seed=0)[0])
    request = pb.ClassifyRequest(model=STUDENT, images=pb.Images(encoded=[whole, whole, whole[:60], whole]))
    code, details = status_of(stubs.inference.Classify, request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith("image 3 of 4: broken or truncated")


def test_a_png_that_declares_30_megapixels_is_refused_on_its_header(stubs) -> None:
    header = struct.pack(">IIBBBBB", 6_000, 5_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    bomb = b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 1_000) + b"IDAT"
    request = pb.ClassifyRequest(model=STUDENT, images=pb.Images(encoded=[bomb]))
    assert status_of(stubs.inference.Classify, request) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "image 1 of 1: 6000 × 5000 pixels, at most 25,000,000 are allowed",
    )


def test_bytes_that_are_no_message_are_the_callers_mistake(stubs) -> None:
    call = stubs.channel.unary_unary("/pupil.v1.Inference/Classify")
    code, details = status_of(call, b"\xff\xff\xff\xff")
    assert (code, details) == (grpc.StatusCode.INVALID_ARGUMENT, "not a pupil.v1.ClassifyRequest message")


def test_a_stream_answers_in_order_and_survives_a_bad_request_in_its_middle(stubs, toolbox) -> None:
    pixels = toolbox.random_pixels(40, seed=6)
    requests = [pb.ClassifyRequest(model=STUDENT, images=raw(image[np.newaxis]), scores=True) for image in pixels]
    requests.insert(20, pb.ClassifyRequest(model=pb.ModelSpec(name="nobody"), images=raw(pixels[:1])))
    answers = list(stubs.inference.ClassifyStream(iter(requests), timeout=PATIENCE))
    failed = answers.pop(20)
    assert failed.error.code == grpc.StatusCode.NOT_FOUND.value[0]
    scores = np.array([answer.predictions[0].scores for answer in answers])
    assert scores == pytest.approx(toolbox.linear_scores(pixels, seed=2), abs=1e-5)


def test_a_sender_who_waits_for_each_answer_before_the_next_request_is_served(stubs, toolbox) -> None:
    to_send: queue.Queue[pb.ClassifyRequest | None] = queue.Queue()
    answers = stubs.inference.ClassifyStream(iter(to_send.get, None), timeout=PATIENCE)
    for image in toolbox.random_pixels(6, seed=8):
        to_send.put(pb.ClassifyRequest(model=STUDENT, images=raw(image[np.newaxis])))
        best = toolbox.linear_scores(image[np.newaxis], seed=2).argmax()
        assert next(answers).predictions[0].top[0].index == best
    to_send.put(None)
    assert list(answers) == []


def test_comparing_gives_the_agreement_and_divergence_of_the_two_models(stubs, toolbox) -> None:
    pixels = toolbox.random_pixels(50, seed=10)
    student, teacher = toolbox.linear_scores(pixels, seed=2), toolbox.linear_scores(pixels, seed=1)
    answer = stubs.inference.Compare(
        pb.CompareRequest(student=STUDENT, images=raw(pixels), scores=True), timeout=PATIENCE
    )
    agree = student.argmax(axis=1) == teacher.argmax(axis=1)
    kl = (teacher * np.log(teacher / student)).sum(axis=1)
    assert answer.agreement == pytest.approx(agree.mean())
    assert [comparison.agree for comparison in answer.comparisons] == agree.tolist()
    assert [comparison.kl for comparison in answer.comparisons] == pytest.approx(kl, abs=1e-5)
    assert answer.mean_kl == pytest.approx(kl.mean(), abs=1e-5)
    assert (answer.student.model, answer.teacher.model) == ("student", "teacher")


def test_a_model_without_a_teacher_is_compared_only_with_one_that_is_named(stubs, toolbox) -> None:
    images = raw(toolbox.random_pixels(2, seed=0))
    teacher = pb.ModelSpec(name="teacher")
    code, details = status_of(stubs.inference.Compare, pb.CompareRequest(student=teacher, images=images))
    told = "teacher/1 names no teacher; say which model is to be it"  # of the repository, not of the request
    assert (code, details) == (grpc.StatusCode.FAILED_PRECONDITION, told)
    same = stubs.inference.Compare(pb.CompareRequest(student=teacher, teacher=teacher, images=images), timeout=PATIENCE)
    assert (same.agreement, same.mean_kl) == (1.0, 0.0)


def test_health_knows_the_server_its_services_and_its_models(stubs) -> None:
    health = health_pb2_grpc.HealthStub(stubs.channel)
    services = ("pupil.v1.Inference", "pupil.v1.Models", "inference.GRPCInferenceService")
    for name in ("", *services, "student", "teacher"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    code, _ = status_of(health.Check, health_pb2.HealthCheckRequest(service="nobody"))
    assert code == grpc.StatusCode.NOT_FOUND


def test_reflection_names_the_services_and_gives_their_files(stubs) -> None:
    reflection = reflection_pb2_grpc.ServerReflectionStub(stubs.channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="pupil.v1.Models"),
    ]
    listed, file = reflection.ServerReflectionInfo(iter(asked), timeout=PATIENCE)
    names = {service.name for service in listed.list_services_response.service}
    assert {"pupil.v1.Inference", "pupil.v1.Models", "grpc.health.v1.Health"} <= names
    assert b"SetAliasRequest" in file.file_descriptor_response.file_descriptor_proto[0]


def test_a_method_that_does_not_exist_is_unimplemented(stubs) -> None:
    code, _ = status_of(stubs.channel.unary_unary("/pupil.v1.Inference/Guess"), b"")
    assert code == grpc.StatusCode.UNIMPLEMENTED


def test_a_deadline_that_has_passed_is_not_worked_on(stubs, toolbox) -> None:
    request = pb.ClassifyRequest(model=STUDENT, images=raw(toolbox.random_pixels(4000, seed=0)))
    with pytest.raises(grpc.RpcError) as raised:
        stubs.inference.Classify(request, timeout=0.000001)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
