"""What callers get: the same answers from both faces, every status as its error, and an end to every wait."""

import asyncio
import re
import time
from pathlib import Path

import grpc
import numpy as np
import pytest

import pupil_client
from pupil_client import (
    AsyncClient,
    BadRequest,
    Client,
    DeadlineExceeded,
    NotCertified,
    NotFound,
    NotPossible,
    Overloaded,
    PupilError,
    ServerError,
    ServerTooOld,
    Unavailable,
)
from pupil_client.messages import model_spec
from pupil_proto.v1 import inference_pb2 as pb

STATUSES = {
    grpc.StatusCode.INVALID_ARGUMENT: BadRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.FAILED_PRECONDITION: NotPossible,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.INTERNAL: ServerError,
    grpc.StatusCode.UNIMPLEMENTED: ServerTooOld,
}
PICTURES = [b"dog 1", b"cat 2", b"fox 3"]


@pytest.fixture
def client(server):
    with Client(server.address) as client:
        yield client


def awaited(server, ask, **settings):
    """What `ask(client)` gives with the async client, collected where it is a stream."""

    async def run():
        async with AsyncClient(server.address, **settings) as client:
            answer = ask(client)
            return [each async for each in answer] if hasattr(answer, "__aiter__") else await answer

    return asyncio.run(run())


def called(server, ask, **settings):
    """The same with the client for threads."""
    with Client(server.address, **settings) as client:
        answer = ask(client)
        return list(answer) if hasattr(answer, "__next__") else answer


both_faces = pytest.mark.parametrize("face", [called, awaited])


def test_one_image_in_gives_one_prediction_and_a_list_gives_a_list(client):
    one = client.classify(b"dog 1", model="student", top_k=2)
    assert (one.label, one.confidence) == ("dog", 0.75)
    assert [(each.label, each.index, each.score) for each in one.top] == [("dog", 1, 0.75), ("cat", 0, 0.125)]
    assert one.scores == ()
    assert (one.answered_by.model, one.answered_by.version, one.answered_by.queue_seconds) == ("student", 2, 0.25)
    assert [each.label for each in client.classify(PICTURES, model="student")] == ["dog", "cat", "fox"]


def test_scores_come_when_asked_for(client):
    assert client.classify(b"fox", model="student", scores=True).scores == (0.3125, 0.3125, 0.375)


def test_a_path_is_read_and_an_array_travels_as_pixels(client, tmp_path):
    file = tmp_path / "fox.png"
    file.write_bytes(b"fox 9")
    assert client.classify(file, model="student").label == "fox"
    pixels = np.full((2, 4, 3, 1), 0, np.uint8)
    pixels[1] = 2
    assert [each.label for each in client.classify(list(pixels), model="student")] == ["cat", "fox"]
    assert client.classify(pixels[1, :, :, 0].T, model="student").label == "fox"  # height × width, not contiguous


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("cat.jpg", "an image is bytes, a Path or an array of uint8 pixels, not str"),
        (np.zeros((4, 3), np.float32), "pixels are uint8, from 0 to 255, not float32"),
        (np.zeros((4, 3), np.int8), "pixels are uint8, from 0 to 255, not int8"),
        (np.zeros((1, 4, 3, 1), np.uint8), "height × width × channels, not 1 × 4 × 3 × 1"),
        ([b"cat", np.zeros((4, 3), np.uint8)], "one request carries files, or pixels of one size"),
        ([np.zeros((4, 3), np.uint8), np.zeros((3, 4), np.uint8)], "3 × 4 × 1, 4 × 3 × 1"),
    ],
)
def test_what_is_no_image_is_refused_before_it_travels(server, client, image, said):
    with pytest.raises(BadRequest, match=said):
        client.classify(image, model="student")
    assert server.rules.calls == []


@pytest.mark.parametrize("model", ["student/two", "student/0", "student/", "student@", "student:", "student@:int8"])
def test_a_model_name_that_cannot_be_read_is_refused(client, model):
    with pytest.raises(BadRequest, match=model):
        client.classify(b"cat", model=model)


@pytest.mark.parametrize("limit", [0.02, 0])
@both_faces
def test_a_limit_alone_is_no_cascade_and_the_error_says_what_is(server, face, limit):
    with pytest.raises(BadRequest, match=rf"a Cascade is wanted, such as Cascade\(limit=0.01\), not {limit}"):
        face(server, lambda client: client.classify(b"dog", model="student", cascade=limit))


@pytest.mark.parametrize(
    ("model", "spec"),
    [
        ("student", pb.ModelSpec(name="student")),
        ("student/2", pb.ModelSpec(name="student", version=2)),
        ("student@stable", pb.ModelSpec(name="student", alias="stable")),
        ("student:int8", pb.ModelSpec(name="student", precision="int8")),
        ("student/2:int8", pb.ModelSpec(name="student", version=2, precision="int8")),
        ("student@stable:fp16", pb.ModelSpec(name="student", alias="stable", precision="fp16")),
    ],
)
def test_a_model_is_named_with_its_version_or_alias_and_its_precision(model: str, spec: pb.ModelSpec) -> None:
    assert model_spec(model) == spec


def test_sync_and_async_give_equal_answers(server, client):
    asks = [
        lambda c: c.classify(PICTURES, model="student", scores=True),
        lambda c: c.compare(PICTURES, student="student"),
        lambda c: c.models(),
        lambda c: c.model("student/1"),
        lambda c: c.load("student/2", keep_others=True),
        lambda c: c.unload("student/1"),
        lambda c: c.set_alias("student", "stable", 2),
    ]
    for ask in asks:
        assert ask(client) == awaited(server, ask)
    streams = [
        lambda c: c.classify_stream([*PICTURES, b"cat 4"], model="student"),
        lambda c: c.pseudo_label([*PICTURES, b"bad"], model="student", precision=0.9),
    ]
    for ask in streams:
        answers = list(ask(client))
        assert len(answers) == 4
        assert answers == awaited(server, ask)


def test_an_image_that_fails_on_a_stream_is_answered_by_its_error_and_the_stream_goes_on(server, client):
    def kinds(answers):
        return [type(answer).__name__ for answer in answers]

    def ask(c):
        return c.classify_stream([b"cat", b"bad", b"dog"], model="student")

    assert kinds(ask(client)) == kinds(awaited(server, ask)) == ["Prediction", "BadRequest", "Prediction"]


def test_labels_come_in_order_with_their_certificate_and_abstentions(server, client):
    labels = list(client.pseudo_label([b"dog", b"bad", b"fox"], model="student/2", precision=0.98, delta=0.1))
    assert [label.prediction and label.prediction.label for label in labels] == ["dog", None, "fox"]
    assert [label.accepted for label in labels] == [True, False, False]
    assert [label.error for label in labels] == [None, "not a picture", None]
    assert {(label.certificate.guarantee, label.certificate.precision) for label in labels} == {("pac", 0.98)}
    plan = server.rules.plans[0]
    assert (plan.model.name, plan.model.version, plan.delta) == ("student", 2, 0.1)


def test_a_flow_of_images_is_cut_into_batches_bounded_in_images_and_bytes(server, client):
    small, large = [b"cat"] * 130, [b"dog " + bytes(3 << 20)] * 3
    labels = list(client.pseudo_label(iter(small + large), model="student", guarantee="none"))
    assert [label.prediction.label for label in labels] == ["cat"] * 130 + ["dog"] * 3
    assert server.rules.batches == [64, 64, 3, 1, 1]  # the two left over share one with the first large one


@pytest.mark.parametrize(
    "plan", [{"guarantee": "maybe"}, {"guarantee": "fixed"}, {"guarantee": "pac", "threshold": 0.5}]
)
def test_a_plan_that_contradicts_itself_is_refused(client, plan):
    with pytest.raises(BadRequest, match="guarantee"):
        list(client.pseudo_label([b"cat"], model="student", **plan))


def test_comparisons_tell_both_answers_and_how_far_apart_they_are(client):
    comparison = client.compare(b"dog", student="student", teacher="large")
    assert (comparison.student.label, comparison.teacher.label) == ("dog", "cat")
    assert (comparison.agree, comparison.kl, comparison.teacher.answered_by.model) == (False, 0.5, "large")


def test_a_load_is_asked_for_as_it_was_meant(server, client):
    info = client.load("student/2", keep_others=True)
    assert (info.name, info.version, info.state, info.classes) == ("student", 2, "ready", ("cat", "dog", "fox"))
    assert (server.rules.loads[0].version, server.rules.loads[0].keep_others) == (2, True)
    for model in ("student@stable", "student/2:int8"):
        with pytest.raises(BadRequest, match="not an alias or a precision"):
            client.load(model)


@both_faces
@pytest.mark.parametrize("status", STATUSES, ids=lambda status: status.name)
def test_every_status_becomes_its_error(server, face, status):
    server.rules.failures = [(status, "why", None)] * 3
    with pytest.raises(PupilError) as raised:
        face(server, lambda client: client.classify(b"cat", model="student"))
    assert type(raised.value) is STATUSES[status]
    server.rules.failures = [(status, "why", None)]
    with pytest.raises(PupilError) as raised:
        face(server, lambda client: client.pseudo_label([b"cat"] * 500, model="student"))
    labelling = NotCertified if status is grpc.StatusCode.FAILED_PRECONDITION else STATUSES[status]
    assert type(raised.value) is labelling


@both_faces
def test_a_deadline_ends_a_call_that_gets_no_answer(server, face):
    server.rules.silent.set()
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=f"no answer from {server.address} within 0.3 s"):
        face(server, lambda client: client.classify(b"cat", model="student", timeout=0.3))
    assert time.monotonic() - began < 10  # the server itself holds it for 30 s


@both_faces
def test_a_silent_stream_ends_too(server, face):
    server.rules.silent.set()
    with pytest.raises(DeadlineExceeded, match=f"{server.address} was silent for 0.3 s"):
        face(server, lambda client: client.pseudo_label([b"cat"], model="student"), timeout=0.3)


@both_faces
def test_time_that_the_caller_takes_is_not_held_against_the_server(server, face):
    def slow_images():
        for image in PICTURES:
            time.sleep(0.4)  # longer than the patience
            yield image

    labels = face(server, lambda client: client.pseudo_label(slow_images(), model="student"), timeout=0.3)
    assert [label.prediction.label for label in labels] == ["dog", "cat", "fox"]


@both_faces
def test_what_goes_wrong_while_images_are_read_reaches_the_caller_as_it_is(server, face):
    with pytest.raises(FileNotFoundError, match=re.escape("gone.png")):
        face(server, lambda client: client.pseudo_label([b"cat", Path("gone.png")], model="student"))


def test_an_async_stream_takes_images_as_they_come_and_can_be_left_early(server):
    async def endless():
        while True:
            yield b"dog"
            await asyncio.sleep(0)

    async def stuck():
        yield b"cat"
        await asyncio.Event().wait()

    async def run():
        async with AsyncClient(server.address) as client:
            labels = client.pseudo_label(endless(), model="student")
            first = await anext(labels)
            await labels.aclose()
            predictions = client.classify_stream(stuck(), model="student")
            second = await anext(predictions)
            await predictions.aclose()
            third = await client.classify(b"fox", model="student")
            return first.prediction.label, second.label, third.label

    assert asyncio.run(asyncio.wait_for(run(), 30)) == ("dog", "cat", "fox")


def test_a_stream_that_is_left_early_does_not_disturb_the_next_call(client):
    labels = client.pseudo_label([b"cat"] * 1000, model="student")
    next(labels)
    labels.close()
    assert client.classify(b"dog", model="student").label == "dog"


def test_a_missing_server_is_named(unused_address):
    with pytest.raises(Unavailable, match=f"no server at {unused_address}"):
        Client(unused_address, timeout=2.0).models()


def test_the_front_door_lists_what_it_holds():
    named = {name for name in vars(pupil_client) if not name.startswith("_")}
    modules = {name for name in named if type(getattr(pupil_client, name)).__name__ == "module"}
    assert named - modules == set(pupil_client.__all__)
    assert len(pupil_client.__all__) == len(set(pupil_client.__all__))
