"""A bundle with an int8 graph of other weights beside fp32's, so that every answer tells which graph gave it."""

import json
import shutil
from pathlib import Path

import grpc
import numpy as np
import pytest

from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import models_pb2
from pupil_server.bundle import read_bundle
from pupil_server.errors import BundleError
from pupil_server.loading import chosen, prepare
from pupil_server.settings import ServerSettings

PATIENCE = 20.0
FP32, INT8 = 2, 7  # seeds of the weights
STUDENT = pb.ModelSpec(name="student")
STUDENT_INT8 = pb.ModelSpec(name="student", precision="int8")


def add_precision(toolbox, folder: Path, precision: str, *, seed: int, aside: Path) -> None:
    """Gives a bundle another graph, with its own goldens, and a calibration set in which one image more is wrong."""
    other = toolbox.write_bundle(aside, "other", seed=seed)
    names = {file: file.replace(".", f".{precision}.") for file in ("model.onnx", "calibration.json")}
    names["golden/golden.json"] = f"golden/golden.{precision}.json"
    for theirs, ours in names.items():
        shutil.copy(other / theirs, folder / ours)
    calibration = json.loads((folder / names["calibration.json"]).read_bytes())
    calibration["label"][1] = (calibration["label"][1] + 1) % len(toolbox.classes)
    (folder / names["calibration.json"]).write_text(json.dumps(calibration))
    facts = json.loads((folder / "bundle.json").read_bytes())
    keys = ("file", "calibration", "goldens")
    facts.setdefault("precisions", {})[precision] = dict(zip(keys, names.values(), strict=True)) | {"certificates": []}
    toolbox.seal(folder, facts)


@pytest.fixture
def bundle(repository: Path, toolbox, tmp_path: Path) -> Path:
    add_precision(toolbox, repository / "student/1", "int8", seed=INT8, aside=tmp_path / "aside")
    return repository / "student/1"


def raw(pixels) -> pb.Images:
    count, height, width, channels = pixels.shape
    return pb.Images(
        pixels=pb.Pixels(data=pixels.tobytes(), count=count, height=height, width=width, channels=channels)
    )


def settings(bundle: Path, **more: object) -> ServerSettings:
    return ServerSettings(**{"repository": bundle.parent.parent, "device": "cpu", **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(("precision", "seed"), [("", FP32), ("fp32", FP32), ("int8", INT8)])
def test_the_precision_that_a_request_names_answers_it(bundle, start, connect, toolbox, precision, seed) -> None:
    pixels = toolbox.random_pixels(4, seed=3)
    spec = pb.ModelSpec(name="student", precision=precision)
    with start("--more-precisions", "int8") as server:
        request = pb.ClassifyRequest(model=spec, images=raw(pixels), scores=True)
        answer = connect(server.address).inference.Classify(request, timeout=PATIENCE)
    scores = np.array([prediction.scores for prediction in answer.predictions])
    assert scores == pytest.approx(toolbox.linear_scores(pixels, seed=seed), abs=1e-5)
    assert answer.answered_by.precision == (precision or "fp32")


def test_labels_carry_the_promise_of_the_precision_that_gave_them(bundle, start, connect, toolbox) -> None:
    with start("--more-precisions", "int8") as server:
        stubs = connect(server.address)
        for spec, wrong in ((STUDENT, 4), (STUDENT_INT8, 5)):
            plan = pb.LabelPlan(model=spec, precision=0.95)
            requests = [pb.PseudoLabelRequest(plan=plan, images=raw(toolbox.random_pixels(1, seed=0)))]
            (response,) = stubs.inference.PseudoLabel(iter(requests), timeout=PATIENCE)
            assert response.certificate.wrong == wrong
            assert response.answered_by.precision == (spec.precision or "fp32")


def test_a_cascade_is_certified_for_the_precision_of_its_student(bundle, start, connect, toolbox) -> None:
    told = np.array(json.loads((bundle.parent.parent / "teacher/1/calibration.json").read_text())["predicted"])
    fingerprint = json.loads((bundle / "bundle.json").read_text())["fingerprint"]
    found = []
    with start("--more-precisions", "int8") as server:
        stubs = connect(server.address)
        for spec, file in ((STUDENT, "calibration.json"), (STUDENT_INT8, "calibration.int8.json")):
            request = pb.ClassifyRequest(model=spec, images=raw(toolbox.random_pixels(1, seed=0)))
            request.cascade.limit = 0.6
            certificate = stubs.inference.Classify(request, timeout=PATIENCE).certificate
            said = json.loads((bundle / file).read_text())
            answers = np.array(said["confidence"]) >= certificate.threshold
            assert certificate.lost == (answers & (np.array(said["predicted"]) != told)).sum() > 0
            assert certificate.deferred == pytest.approx(1 - answers.mean())
            found.append((certificate.student, certificate.lost))
    assert [name for name, _ in found] == [f"{fingerprint}:fp32", f"{fingerprint}:int8"]
    assert len({lost for _, lost in found}) == 2


def test_a_precision_that_is_not_served_is_not_found_and_those_that_are_are_named(bundle, start, connect) -> None:
    with start() as server, pytest.raises(grpc.RpcError) as raised:
        connect(server.address).models.Get(models_pb2.GetModelRequest(model=STUDENT_INT8), timeout=PATIENCE)
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND
    assert raised.value.details() == "student/1 does not answer in precision 'int8'; it answers in fp32"


def test_a_model_tells_its_precisions_and_where_the_nodes_of_each_are(bundle, start, connect) -> None:
    with start("--more-precisions", "int8", "--more-precisions", "fp16") as server:
        stubs = connect(server.address)
        for spec in (STUDENT, STUDENT_INT8):
            info = stubs.models.Get(models_pb2.GetModelRequest(model=spec), timeout=PATIENCE)
            assert list(info.precisions) == ["fp32", "int8"]
            assert info.precision == (spec.precision or "fp32")
            assert dict(info.nodes) == {"cpu": 5}
        stubs.models.Unload(models_pb2.UnloadModelRequest(name="student"), timeout=PATIENCE)
        with pytest.raises(grpc.RpcError, match="no model student"):
            stubs.models.Get(models_pb2.GetModelRequest(model=STUDENT_INT8), timeout=PATIENCE)


def test_only_what_is_served_is_loaded_and_each_precision_must_give_its_own_goldens(bundle: Path, toolbox) -> None:
    goldens = json.loads((bundle / "golden/golden.int8.json").read_bytes())
    goldens["images"][1]["scores"] = goldens["images"][0]["scores"]
    (bundle / "golden/golden.int8.json").write_text(json.dumps(goldens))
    toolbox.seal(bundle, json.loads((bundle / "bundle.json").read_bytes()))
    assert prepare(bundle, settings(bundle)).others == ()
    for serve in ({"more_precisions": ("int8",)}, {"precision": "int8"}):
        with pytest.raises(BundleError, match=r"golden/1\.png scores differ by .* at export in int8"):
            prepare(bundle, settings(bundle, **serve))


def test_a_precision_that_the_bundle_lacks_is_a_refusal_and_not_another_precision(bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"--precision fp16: it has fp32, int8; export it with --precision fp16"):
        prepare(bundle, settings(bundle, precision="fp16"))


@pytest.mark.parametrize(
    ("asked", "more", "device", "expected"),
    [
        ("auto", (), "cpu", ["fp32"]),
        ("auto", (), "cuda", ["fp16"]),
        ("auto", ("fp32", "fp16"), "tensorrt", ["fp16", "fp32"]),
        ("int8", ("int8", "bf16"), "cpu", ["int8"]),
        ("fp32", ("int8",), "cuda", ["fp32", "int8"]),
    ],
)
def test_unasked_a_gpu_answers_in_fp16_where_it_can_and_a_cpu_in_fp32(
    bundle: Path, toolbox, tmp_path: Path, asked: str, more: tuple[str, ...], device: str, expected: list[str]
) -> None:
    add_precision(toolbox, bundle, "fp16", seed=5, aside=tmp_path / "another")
    found = chosen(read_bundle(bundle), asked, more, device)
    assert [each.facts.precision for each in found] == expected


def test_a_bundle_whose_precision_names_a_file_that_it_does_not_list_is_refused(bundle: Path, toolbox) -> None:
    facts = json.loads((bundle / "bundle.json").read_bytes())
    facts["precisions"]["int8"]["file"] = "../../teacher/1/model.onnx"
    toolbox.seal(bundle, facts)
    with pytest.raises(BundleError, match=r"lists no \.\./\.\./teacher/1/model\.onnx"):
        read_bundle(bundle)
