"""The two messages of `grpc.health.v1`, spelled out: the base install has no grpcio-health-checking."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

CHECK = "/grpc.health.v1.Health/Check"
SERVING = 1


def _messages() -> tuple[Any, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="health.proto", package="grpc.health.v1", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    file.message_type.add(name="Request").field.add(
        name="service", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL
    )
    file.message_type.add(name="Response").field.add(
        name="status", number=1, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL
    )
    pool = descriptor_pool.DescriptorPool()  # a private one: the default pool may hold the real health.proto
    pool.Add(file)  # type: ignore[no-untyped-call]  # its stub has no types
    found = pool.FindFileByName(file.name).message_types_by_name  # type: ignore[no-untyped-call]  # nor has this
    return message_factory.GetMessageClass(found["Request"]), message_factory.GetMessageClass(found["Response"])


_Request, _Response = _messages()


def health_request(model: str) -> bytes:
    """The question whether `model` serves; the empty name asks for the server as a whole."""
    return bytes(_Request(service=model).SerializeToString())


def is_serving(answer: bytes) -> bool:
    """What the server says to it."""
    return bool(_Response.FromString(answer).status == SERVING)
