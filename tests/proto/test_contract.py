import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import FileDescriptor

from pupil_proto.v1 import inference_pb2, models_pb2

ROOT = Path(__file__).parent.parent.parent
STUBS = ROOT / "proto/pupil_proto/v1"
UV = Path(sys.executable).with_name("uv")


def test_the_stubs_are_what_the_generator_makes_of_the_contract(tmp_path: Path) -> None:
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python", "mypy_grpc")]
    files = [f"pupil_proto/v1/{file.name}" for file in sorted(STUBS.glob("*.proto"))]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I", str(ROOT / "proto"), *outputs, *files],
        check=True,
        capture_output=True,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    made = {file.name: file.read_text() for file in (tmp_path / "pupil_proto/v1").iterdir()}
    committed = {file.name: file.read_text() for file in STUBS.glob("*_pb2*")}
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


FIELDS = {
    "AnsweredBy": "model=1 version=2 precision=3 fingerprint=4 queue_seconds=5 compute_seconds=6",
    "Certificate": "guarantee=1 precision=2 delta=3 threshold=4 calibration=5 accepted=6 wrong=7 p_value=8 "
    "fingerprint=9 coverage=10",
    "ClassifyRequest": "model=1 images=2 top_k=3 scores=4",
    "ClassifyResponse": "predictions=1 answered_by=2 error=3",
    "CompareRequest": "student=1 teacher=2 images=3 top_k=4 scores=5",
    "CompareResponse": "comparisons=1 agreement=2 mean_kl=3 student=4 teacher=5",
    "Comparison": "student=1 teacher=2 agree=3 kl=4",
    "Error": "code=1 message=2",
    "Images": "encoded=1 pixels=2",
    "LabelPlan": "model=1 guarantee=2 precision=3 delta=4 threshold=5 scores=6",
    "ModelSpec": "name=1 version=2 alias=3",
    "Pixels": "data=1 count=2 height=3 width=4 channels=5",
    "Prediction": "top=1 scores=2",
    "PseudoLabel": "prediction=1 accepted=2 error=3",
    "PseudoLabelRequest": "plan=1 images=2",
    "PseudoLabelResponse": "labels=1 certificate=2 answered_by=3",
    "ScoredClass": "label=1 index=2 score=3",
    "GetModelRequest": "model=1",
    "ListModelsRequest": "",
    "ListModelsResponse": "models=1",
    "LoadModelRequest": "name=1 version=2 keep_others=3",
    "ModelInfo": "name=1 version=2 state=3 reason=4 aliases=5 classes=6 height=7 width=8 channels=9 precision=10 "
    "device=11 fingerprint=12 teacher=13 certificates=14 created=15 max_batch_images=16",
    "SetAliasRequest": "name=1 alias=2 version=3",
    "SetAliasResponse": "",
    "UnloadModelRequest": "name=1 version=2",
    "UnloadModelResponse": "",
}


def numbered(file: FileDescriptor) -> dict[str, str]:
    return {
        name: " ".join(f"{field.name}={field.number}" for field in message.fields)
        for name, message in file.message_types_by_name.items()
    }


def test_a_field_once_numbered_keeps_its_number() -> None:
    assert numbered(inference_pb2.DESCRIPTOR) | numbered(models_pb2.DESCRIPTOR) == FIELDS
