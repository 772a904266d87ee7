"""A client that knows nothing but reflection, as grpcurl does."""

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

PATIENCE = 20.0


def ask(channel: grpc.Channel, method: str, request: dict) -> dict:
    """Calls `Service/Method` with what the server itself tells of them."""
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    service, _, name = method.partition("/")
    described = pool.FindServiceByName(service).FindMethodByName(name)
    question, answer = (GetMessageClass(one) for one in (described.input_type, described.output_type))
    call = channel.unary_unary(
        f"/{method}", request_serializer=question.SerializeToString, response_deserializer=answer.FromString
    )
    return MessageToDict(call(ParseDict(request, question()), timeout=PATIENCE))


def test_every_service_that_is_listed_is_described_under_that_name(stubs) -> None:
    database = ProtoReflectionDescriptorDatabase(stubs.channel)
    pool = DescriptorPool(database)
    assert {pool.FindServiceByName(name).full_name for name in database.get_services()} == {
        "pupil.v1.Inference",
        "pupil.v1.Models",
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        ("pupil.v1.Inference.Classify", "pupil_proto/v1/inference.proto"),
        ("inference.GRPCInferenceService.ModelInfer", "pupil_proto/oip/v2/service.proto"),
        ("grpc.health.v1.Health.Check", "grpc_health/v1/health.proto"),
    ],
)
def test_a_method_is_found_by_its_name(stubs, symbol: str, file: str) -> None:
    assert ProtoReflectionDescriptorDatabase(stubs.channel).FindFileContainingSymbol(symbol).name == file
    with pytest.raises(KeyError):  # of another database, because it looks into what it was told before
        ProtoReflectionDescriptorDatabase(stubs.channel).FindFileContainingSymbol(f"{symbol}Nothing")


@pytest.mark.parametrize(
    ("method", "request_", "answer"),
    [
        ("inference.GRPCInferenceService/ServerReady", {}, {"ready": True}),
        ("inference.GRPCInferenceService/ModelReady", {"name": "student", "version": "1"}, {"ready": True}),
        ("grpc.health.v1.Health/Check", {"service": "inference.GRPCInferenceService"}, {"status": "SERVING"}),
        ("grpc.health.v1.Health/Check", {"service": "student"}, {"status": "SERVING"}),
    ],
)
def test_a_client_that_learns_the_messages_by_reflection_is_answered(stubs, method, request_, answer) -> None:
    assert ask(stubs.channel, method, request_) == answer


def test_such_a_client_can_infer(stubs, toolbox) -> None:
    pixels = toolbox.random_pixels(1, seed=3)
    contents = {"uint_contents": pixels.ravel().tolist()}
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 6, 6, 3], "contents": contents}
    outputs = [{"name": "scores", "parameters": {"classification": {"int64_param": 1}}}]
    asked = {"model_name": "student", "inputs": [tensor], "outputs": outputs}
    answer = ask(stubs.channel, "inference.GRPCInferenceService/ModelInfer", asked)
    assert answer["outputs"] == [{"name": "scores", "datatype": "BYTES", "shape": ["1", "1"]}]
