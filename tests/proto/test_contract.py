import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from google.protobuf.descriptor import Descriptor, FileDescriptor

from pupil_client.messages import GOALS
from pupil_proto.oip.v2 import config_pb2, infer_pb2, repository_pb2, statistics_pb2
from pupil_proto.oip.v2 import service_pb2 as oip_service
from pupil_proto.v1 import inference_pb2, models_pb2
from pupil_server import goals
from pupil_trust.cascade import Goal

ROOT = Path(__file__).parent.parent.parent
STUBS = ROOT / "proto/pupil_proto"
UV = Path(sys.executable).with_name("uv")


@pytest.mark.parametrize(
    ("folder", "kinds"),
    [("v1", ("python", "pyi", "grpc_python", "mypy_grpc")), ("oip/v2", ("python", "pyi"))],
)
def test_the_stubs_are_what_the_generator_makes_of_the_contract(tmp_path: Path, folder: str, kinds) -> None:
    outputs = [f"--{kind}_out={tmp_path}" for kind in kinds]
    files = [f"pupil_proto/{folder}/{file.name}" for file in sorted((STUBS / folder).glob("*.proto"))]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I", str(ROOT / "proto"), *outputs, *files],
        check=True,
        capture_output=True,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    made = {file.name: file.read_text() for file in (tmp_path / "pupil_proto" / folder).iterdir()}
    committed = {file.name: file.read_text() for file in (STUBS / folder).glob("*_pb2*")}
    assert made == committed, "the .proto and its stubs differ: make proto"


@pytest.mark.parametrize("protobuf", ["5.28.1", "6.33.6", "7.36.2"])
def test_the_stubs_load_under_every_protobuf_that_a_client_may_have(tmp_path: Path, protobuf: str) -> None:
    subprocess.run(
        [UV, "pip", "install", "--quiet", "--no-deps", "--target", tmp_path, f"protobuf=={protobuf}"],
        check=True,
        timeout=300,
    )
    script = (
        "import google.protobuf, pupil_client\n"
        "from pupil_proto.oip.v2 import service_pb2\n"
        "from pupil_proto.v1 import inference_pb2, inference_pb2_grpc, models_pb2_grpc\n"
        "message = inference_pb2.ClassifyRequest(images={'encoded': [b'x']})\n"
        "assert inference_pb2.ClassifyRequest.FromString(message.SerializeToString()) == message\n"
        "print(google.protobuf.__version__)\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT / "proto"), str(ROOT / "clients/python")])
    ran = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, protobuf), ran.stderr


def test_server_client_and_arithmetic_call_the_goals_of_a_cascade_by_the_names_of_the_contract() -> None:
    numbers = {name.removeprefix("CASCADE_GOAL_").lower(): number for name, number in inference_pb2.CascadeGoal.items()}
    assert goals.ASKED.keys() == set(numbers.values())
    assert goals.ASKED[numbers.pop("unspecified")] == "disagreement"
    assert goals.GOALS == GOALS == numbers
    assert numbers.keys() == set(get_args(Goal))


FIELDS = {
    "AnsweredBy": "model=1 version=2 precision=3 fingerprint=4 queue_seconds=5 compute_seconds=6",
    "Certificate": "guarantee=1 precision=2 delta=3 threshold=4 calibration=5 accepted=6 wrong=7 p_value=8 "
    "fingerprint=9 coverage=10",
    "Cascade": "teacher=1 goal=2 limit=3 delta=4 student_alone=5",
    "CascadeCertificate": "goal=1 limit=2 delta=3 threshold=4 calibration=5 lost=6 deferred=7 p_value=8 student=9 "
    "teacher=10",
    "ClassifyRequest": "model=1 images=2 top_k=3 scores=4 cascade=5",
    "ClassifyResponse": "predictions=1 answered_by=2 error=3 routes=4 teacher=5 certificate=6",
    "CompareRequest": "student=1 teacher=2 images=3 top_k=4 scores=5",
    "CompareResponse": "comparisons=1 agreement=2 mean_kl=3 student=4 teacher=5",
    "Comparison": "student=1 teacher=2 agree=3 kl=4",
    "Error": "code=1 message=2",
    "Images": "encoded=1 pixels=2",
    "LabelPlan": "model=1 guarantee=2 precision=3 delta=4 threshold=5 scores=6 calibration=7",
    "ModelSpec": "name=1 version=2 alias=3 precision=4",
    "Pixels": "data=1 count=2 height=3 width=4 channels=5",
    "Prediction": "top=1 scores=2",
    "PseudoLabel": "prediction=1 accepted=2 error=3",
    "PseudoLabelRequest": "plan=1 images=2",
    "PseudoLabelResponse": "labels=1 certificate=2 answered_by=3 calibration=4",
    "CalibrationAnswers": "confidence=1 predicted=2",
    "ScoredClass": "label=1 index=2 score=3",
    "GetModelRequest": "model=1",
    "ListModelsRequest": "",
    "ListModelsResponse": "models=1",
    "LoadModelRequest": "name=1 version=2 keep_others=3 aside=4",
    "ModelInfo": "name=1 version=2 state=3 reason=4 aliases=5 classes=6 height=7 width=8 channels=9 precision=10 "
    "device=11 fingerprint=12 teacher=13 certificates=14 created=15 max_batch_images=16 nodes=17 precisions=18 "
    "by_name=19",
    "SetAliasRequest": "name=1 alias=2 version=3",
    "SetAliasResponse": "",
    "UnloadModelRequest": "name=1 version=2",
    "UnloadModelResponse": "",
    "GetWatchRequest": "model=1",
    "ResetWatchRequest": "model=1",
    "Watch": "model=1 version=2 precision=3 fingerprint=4 teacher=5 compared=6 disagreed=7 disagreement_low=8 "
    "disagreement_high=9 mean_kl=10 classes=11 images=12 evidence=13 alarms=14 lapsed=15",
    "ClassAgreement": "label=1 compared=2 agreed=3",
    "SeenRequest": "model=1 images=2",
    "SeenResponse": "trained_on=1 labelled=2 unlabelled=3 missing=4",
}


def numbered(file: FileDescriptor) -> dict[str, str]:
    return {
        name: " ".join(f"{field.name}={field.number}" for field in message.fields)
        for name, message in file.message_types_by_name.items()
    }


def test_a_field_once_numbered_keeps_its_number() -> None:
    assert numbered(inference_pb2.DESCRIPTOR) | numbered(models_pb2.DESCRIPTOR) == FIELDS


def messages(*files: FileDescriptor) -> dict[str, Descriptor]:
    """By their names without the package, those inside another one too."""
    found: dict[str, Descriptor] = {}
    waiting = [message for file in files for message in file.message_types_by_name.values()]
    while waiting:
        message = waiting.pop()
        found[message.full_name.removeprefix(f"{message.file.package}.")] = message
        waiting += message.nested_types
    return found


def fields(message: Descriptor) -> dict[str, tuple[int, int, bool]]:
    return {field.name: (field.number, field.type, field.is_repeated) for field in message.fields}


def test_the_open_inference_protocol_s_messages_are_on_the_wire_what_triton_s_are() -> None:
    from tritonclient.grpc import model_config_pb2, service_pb2

    ours = messages(*(file.DESCRIPTOR for file in (config_pb2, infer_pb2, repository_pb2, oip_service, statistics_pb2)))
    theirs = messages(service_pb2.DESCRIPTOR, model_config_pb2.DESCRIPTOR)
    assert len(ours) > 40
    for name, message in ours.items():
        if name.startswith("ModelMetadataResponse.Properties"):
            continue
        rest = fields(message)
        if name == "ModelMetadataResponse":
            assert rest.pop("properties")[0] == 6  # the protocol's own, which Triton leaves out
        assert rest.items() <= fields(theirs[name]).items(), name
    (service,) = oip_service.DESCRIPTOR.services_by_name.values()
    known = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    for method in service.methods:
        assert (method.input_type.name, method.output_type.name, method.client_streaming, method.server_streaming) == (
            known[method.name].input_type.name,
            known[method.name].output_type.name,
            known[method.name].client_streaming,
            known[method.name].server_streaming,
        )


@pytest.mark.parametrize("first", ["tritonclient.grpc", "pupil_client, pupil_proto.oip.v2.service_pb2"])
def test_our_messages_and_another_client_s_live_in_one_process(first: str) -> None:
    script = (
        f"import {first}\n"
        "import tritonclient.grpc, tritonclient.grpc.aio, pupil_client\n"
        "from pupil_proto.oip.v2 import service_pb2\n"
        "from pupil_server.oip.reflection import descriptor_pool\n"
        "print(descriptor_pool().FindServiceByName('inference.GRPCInferenceService').full_name)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout.strip()) == (0, "inference.GRPCInferenceService"), ran.stderr
