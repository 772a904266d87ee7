"""Calls from strangers, every RPC: a documented status and nothing else, and the server answers the next one."""

import socket
import urllib.request
from pathlib import Path

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import models_pb2

PATIENCE = 20.0
STUDENT = pb.ModelSpec(name="student")
DOCUMENTED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
METHODS = {
    f"/{service.full_name}/{method.name}": method
    for file in (pb, models_pb2, health_pb2, reflection_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
CLASSIFY = "/pupil.v1.Inference/Classify"
FUZZ = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

NAMES = (
    "teacher",
    "",
    "../../etc/passwd",
    "a/b",
    "..",
    "a\0b",
    "a\nINFO forged",
    "ä\U0001f600\u202e",
    "n" * 70_000,
    "%s%n{0}",
)
NUMBERS = st.sampled_from([0, 1, 2, 6, 3, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, -1, -(2**31), -(2**63)])
DOUBLES = st.sampled_from([0.0, 0.5, 0.95, 1.0, -1.0, 2.0, 1e308, 5e-324, float("nan"), float("inf"), float("-inf")])
BYTES = st.one_of(st.binary(max_size=120), st.just(bytes(108)), st.just(bytes(200_000)))
RANGES = {
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.TYPE_FIXED64: (0, 2**64 - 1),
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_ENUM: (-(2**31), 2**31 - 1),
}


def values(field: FieldDescriptor) -> st.SearchStrategy[object]:
    """What may stand in a field by its type, likely or absurd."""
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return messages(field.message_type)
    if field.type == FieldDescriptor.TYPE_STRING:
        return st.one_of(st.sampled_from(NAMES), st.text(st.characters(codec="utf-8"), max_size=20))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return BYTES
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return DOUBLES
    least, most = RANGES[field.type]
    return NUMBERS.filter(lambda number: least <= number <= most)


@st.composite
def messages(draw: st.DrawFn, kind: Descriptor) -> Message:
    message = message_factory.GetMessageClass(kind)()
    for field in kind.fields:
        if not draw(st.booleans()):
            continue
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(values(field), max_size=3)))
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            getattr(message, field.name).CopyFrom(draw(values(field)))
        else:
            setattr(message, field.name, draw(values(field)))
    if kind is pb.ModelSpec.DESCRIPTOR and draw(st.booleans()):
        message.CopyFrom(STUDENT)  # or every call would end at its name
    return message


def status(channel: grpc.Channel, path: str, method: MethodDescriptor, requests: list[bytes]) -> grpc.StatusCode:
    """What becomes of one call, as far as its first answers."""
    try:
        if method.client_streaming:
            list(channel.stream_stream(path)(iter(requests), timeout=PATIENCE))
        elif method.server_streaming:
            answers = channel.unary_stream(path)(requests[0], timeout=PATIENCE)
            next(answers)
            answers.cancel()
        else:
            channel.unary_unary(path)(requests[0], timeout=PATIENCE)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def good_answer(stubs) -> int:
    pixels = pb.Pixels(data=bytes(108), count=1, height=6, width=6, channels=3)
    request = pb.ClassifyRequest(model=STUDENT, images=pb.Images(pixels=pixels))
    return len(stubs.inference.Classify(request, timeout=PATIENCE).predictions)


@pytest.mark.parametrize("path", METHODS)
def test_messages_full_of_absurd_values_get_a_documented_status(stubs, path: str) -> None:
    method = METHODS[path]

    @settings(FUZZ, max_examples=80)
    @given(st.lists(messages(method.input_type), min_size=1, max_size=3))
    def ask(requests: list[Message]) -> None:
        assert status(stubs.channel, path, method, [each.SerializeToString() for each in requests]) in DOCUMENTED

    ask()
    assert good_answer(stubs) == 1


@pytest.mark.parametrize("path", METHODS)
def test_bytes_that_are_noise_get_a_documented_status(stubs, path: str) -> None:
    method = METHODS[path]

    @settings(FUZZ, max_examples=25)
    @given(st.lists(st.binary(max_size=200), min_size=1, max_size=3))
    def ask(requests: list[bytes]) -> None:
        assert status(stubs.channel, path, method, requests) in DOCUMENTED

    ask()
    assert good_answer(stubs) == 1


def test_nothing_above_left_a_trace_in_the_log_or_a_forged_line(server) -> None:
    log = server.log.read_text()
    assert "Traceback" not in log
    assert "incident" not in log
    assert not [line for line in log.splitlines() if line.startswith("INFO forged")]


def test_every_bomb_is_refused_by_the_server_and_its_memory_stays_level(start, connect, hostile) -> None:
    files = {name: make() for name, (make, _) in hostile.bombs().items()} | hostile.strangers()
    with start("--max-megapixels", "4") as server:
        stubs = connect(server.address)

        def send_all() -> float:
            for name, data in files.items():
                request = pb.ClassifyRequest(model=STUDENT, images=pb.Images(encoded=[data]))
                code = status(stubs.channel, CLASSIFY, METHODS[CLASSIFY], [request.SerializeToString()])
                assert code == grpc.StatusCode.INVALID_ARGUMENT, name
            return server.memory_mb()

        warm = max(send_all() for _ in range(3))  # each thread that decodes keeps what one picture took
        assert max(send_all() for _ in range(3)) < 1.1 * warm
        assert good_answer(stubs) == 1


def test_a_name_longer_than_the_trailing_metadata_does_not_lose_the_status(stubs) -> None:
    for name in ("n" * 5_000_000, "\U0001f600" * 100_000):
        with pytest.raises(grpc.RpcError) as raised:
            stubs.inference.Classify(pb.ClassifyRequest(model=pb.ModelSpec(name=name)), timeout=PATIENCE)
        assert raised.value.code() == grpc.StatusCode.NOT_FOUND
        assert raised.value.details().startswith("no model ")


# What is no call at all

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
RESETS = b"".join(
    b"\0\0\1\1\4" + place.to_bytes(4, "big") + b"\x82" + b"\0\0\4\3\0" + place.to_bytes(4, "big") + b"\0\0\0\x08"
    for place in range(1, 4001, 2)
)
NUISANCES = {
    "nothing": b"",
    "noise": bytes(range(256)) * 64,
    "half a preface": PREFACE[:11],
    "a TLS hello": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(500),
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a frame of 16 MB": PREFACE + b"\xff\xff\xff\0\0" + bytes(4),
    "settings without end": PREFACE + b"\0\0\0\4\0\0\0\0\0" * 5_000,
    "two thousand streams, each reset at once": PREFACE + b"\0\0\0\4\0\0\0\0\0" + RESETS,
}


def connected(address: str) -> socket.socket:
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def test_connections_that_do_not_speak_grpc_disturb_nobody(server, stubs) -> None:
    good_answer(stubs)
    before = server.memory_mb()
    for _ in range(3):
        opened = [connected(server.address) for _ in NUISANCES]
        for nuisance, data in zip(opened, NUISANCES.values(), strict=True):
            try:
                nuisance.sendall(data)
            except OSError:  # it hung up on us, as it may
                continue
        assert good_answer(stubs) == 1
        for nuisance in opened:
            nuisance.close()
    assert server.memory_mb() < 1.5 * before
    assert server.process.poll() is None


def test_five_hundred_idle_connections_leave_room_for_a_good_one(server, connect) -> None:
    idle = [connected(server.address) for _ in range(500)]
    try:
        assert good_answer(connect(server.address)) == 1
    finally:
        for nuisance in idle:
            nuisance.close()


@pytest.mark.parametrize(
    "nuisance",
    [
        b"",
        b"G",
        b"GET /" + b"a" * 200_000,
        b"GET /livez HTTP/1.1\r\n" + b"X: y\r\n" * 5_000,
        b"\0\xff" * 1_000,
        b"HEAD /livez HTTP/1.1\r\n\r\n",
        b"POST /livez HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n",
        b"POST /livez HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
    ],
)
def test_probes_answer_beside_connections_that_do_not_end_their_request(server, nuisance: bytes) -> None:
    opened = [connected(server.http) for _ in range(10)]
    try:
        for each in opened:
            try:
                each.sendall(nuisance)
            except OSError:
                continue
        with urllib.request.urlopen(f"http://{server.http}/livez", timeout=PATIENCE) as answer:
            assert answer.read() == b"ok\n"
    finally:
        for each in opened:
            each.close()


def test_millions_of_tiny_images_are_counted_and_not_made_objects_of(start, connect) -> None:
    """5,000,000 of them fit into 20 MB; as objects of Python they would take 270 more."""
    images = pb.Images(encoded=[b"no"] * 5_000_000)
    message = pb.ClassifyRequest(model=STUDENT, images=images).SerializeToString()
    with start() as server:
        stubs = connect(server.address)
        assert good_answer(stubs) == 1
        before = peak_mb(server)
        code = status(stubs.channel, CLASSIFY, METHODS[CLASSIFY], [message])
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert peak_mb(server) < before + 400  # of which protobuf's own form of the message is 270


def peak_mb(server) -> float:
    """The most memory that the process has held so far."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM"))
