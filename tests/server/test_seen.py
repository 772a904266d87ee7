"""Which images a model was trained on, asked over the wire."""

import json
from pathlib import Path

import grpc
import numpy as np
import pytest

from pupil_client import Client
from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import models_pb2
from pupil_server.bundle import read_bundle
from pupil_server.errors import BundleError

PATIENCE = 20.0
LABELLED, UNLABELLED = (5, 700, 2**63 + 1), (6, 2**64 - 1)
MISSING = ["the images behind the weights DEFAULT"]


def write_known(bundle: Path, toolbox) -> Path:
    """Gives a bundle the images above."""
    np.save(bundle / "trained_on.npy", np.array(LABELLED, dtype="<u8"))
    np.save(bundle / "trained_on.unlabelled.npy", np.array(UNLABELLED, dtype="<u8"))
    facts = json.loads((bundle / "bundle.json").read_bytes())
    toolbox.seal(bundle, facts | {"trained_on": {"labelled": 3, "unlabelled": 2, "missing": MISSING}})
    return bundle


@pytest.fixture(scope="module")
def server(front: str, tmp_path_factory: pytest.TempPathFactory, toolbox):
    """`student` knows its images, `teacher` is an older bundle, and what `broken` holds is no row of marks."""
    folder = tmp_path_factory.mktemp("served") / "repository"
    toolbox.write_bundle(folder, "teacher", seed=1)
    write_known(toolbox.write_bundle(folder, "student", seed=2), toolbox)
    broken = toolbox.write_bundle(folder, "broken", seed=3)
    np.save(broken / "trained_on.npy", np.array([1.5, 2.5]))
    toolbox.seal(broken, json.loads((broken / "bundle.json").read_bytes()))
    with toolbox.run_server(folder, "--front", front) as running:
        yield running


def seen(stubs, model: str, images: list[int]) -> models_pb2.SeenResponse:
    request = models_pb2.SeenRequest(model=pb.ModelSpec(name=model), images=images)
    return stubs.models.Seen(request, timeout=PATIENCE)


def refusal(stubs, model: str, images: list[int]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        seen(stubs, model, images)
    return raised.value.code(), raised.value.details()


def test_the_places_of_what_was_seen_are_told_with_a_label_and_without(stubs) -> None:
    found = seen(stubs, "student", [2**64 - 1, 4, 5, 6, 7, 2**63 + 1, 5])
    assert found.trained_on == 3
    assert list(found.labelled) == [2, 5, 6]
    assert list(found.unlabelled) == [0, 3]
    assert list(found.missing) == MISSING


def test_a_bundle_that_does_not_say_says_so(stubs) -> None:
    assert seen(stubs, "teacher", [5]) == models_pb2.SeenResponse()


def test_too_many_images_and_a_model_that_is_not_there_are_refused(stubs) -> None:
    assert seen(stubs, "student", [5] * 65_536).labelled[-1] == 65_535
    code, details = refusal(stubs, "student", [5] * 65_537)
    assert (code, details) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "65,537 images in one request, at most 65,536 are allowed; send fewer",
    )
    assert refusal(stubs, "nobody", [5])[0] == grpc.StatusCode.NOT_FOUND


def test_what_is_no_row_of_marks_is_refused_in_words_of_ours(stubs) -> None:
    assert refusal(stubs, "broken", [1]) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "broken/1: trained_on.npy cannot be read; export the bundle again",
    )


def test_a_client_asks_about_more_than_one_request_holds(server) -> None:
    asked = [5, *[4] * 65_535, 4, 700, 6]
    with Client(server.address) as client:
        found = client.seen(asked, model="student")
        assert client.seen([], model="student").trained_on == 3
    assert (found.labelled, found.unlabelled) == ((0, 65_537), (65_538,))


def test_a_flipped_byte_in_it_is_noticed_when_the_bundle_is_loaded(toolbox, tmp_path: Path) -> None:
    bundle = write_known(toolbox.write_bundle(tmp_path, "student", seed=2), toolbox)
    assert read_bundle(bundle).facts.trained_on.missing == tuple(MISSING)
    marks = bytearray((bundle / "trained_on.npy").read_bytes())
    marks[-1] ^= 1
    (bundle / "trained_on.npy").write_bytes(marks)
    with pytest.raises(BundleError, match=r"trained_on\.npy: changed since it was exported"):
        read_bundle(bundle)
