"""What no well-behaved client sends, and what the protocol's other clients trip over, message by message."""

import struct
from collections.abc import Callable

import grpc
import numpy as np
import pytest

from pupil_proto.oip.v2 import config_pb2, infer_pb2, service_pb2, statistics_pb2

PATIENCE = 20.0
Tensor = infer_pb2.ModelInferRequest.InferInputTensor
Contents = infer_pb2.InferTensorContents
Output = infer_pb2.ModelInferRequest.InferRequestedOutputTensor
ANSWERS = {
    "ModelInfer": infer_pb2.ModelInferResponse,
    "ModelMetadata": service_pb2.ModelMetadataResponse,
    "ModelConfig": config_pb2.ModelConfigResponse,
    "ModelStatistics": statistics_pb2.ModelStatisticsResponse,
}


@pytest.fixture
def ask(stubs) -> Callable:
    return asker(stubs.channel)


def asker(channel: grpc.Channel) -> Callable:
    def ask(method: str, request):
        call = channel.unary_unary(
            f"/inference.GRPCInferenceService/{method}", response_deserializer=ANSWERS[method].FromString
        )
        return call(request.SerializeToString(), timeout=PATIENCE)

    return ask


def request(tensor: Tensor | None = None, *raw: bytes, **more) -> infer_pb2.ModelInferRequest:
    inputs = [tensor] if tensor else []
    return infer_pb2.ModelInferRequest(model_name="student", inputs=inputs, raw_input_contents=raw, **more)


def uint8(count: int = 1, **more) -> Tensor:
    return Tensor(name="images", datatype="UINT8", shape=[count, 6, 6, 3], **more)


def encoded(*shape: int) -> Tensor:
    return Tensor(name="images", datatype="BYTES", shape=shape)


def parameter(**value) -> infer_pb2.InferParameter:
    return infer_pb2.InferParameter(**value)


PIXELS = bytes(108)
FLOATS = np.full(108, 255, "<f4")


def test_typed_contents_are_the_same_as_raw_ones_and_the_answer_is_raw_all_the_same(ask, toolbox) -> None:
    pixels = toolbox.random_pixels(2, seed=1)
    files = [toolbox.png(image) for image in pixels]
    flat = pixels.ravel().tolist()
    floats = Tensor(name="images", datatype="FP32", shape=[2, 6, 6, 3], contents=Contents(fp32_contents=flat))
    bytes_ = Tensor(name="images", datatype="BYTES", shape=[2], contents=Contents(bytes_contents=files))
    for asked in (
        request(uint8(2), pixels.tobytes()),
        request(uint8(2, contents=Contents(uint_contents=flat))),
        request(floats),
        request(bytes_),
    ):
        answer = ask("ModelInfer", asked)
        assert [(o.name, o.datatype, list(o.shape)) for o in answer.outputs] == [
            ("logits", "FP32", [2, 8]),
            ("scores", "FP32", [2, 8]),
        ]
        assert len(answer.raw_output_contents) == 2
        assert not any(output.HasField("contents") for output in answer.outputs)
        scores = np.frombuffer(answer.raw_output_contents[1], "<f4").reshape(2, 8)
        assert scores == pytest.approx(toolbox.linear_scores(pixels, seed=2), abs=1e-5)


def test_more_images_than_a_batch_holds_come_back_in_order(ask, toolbox) -> None:
    pixels = toolbox.random_pixels(100, seed=4)
    answer = ask("ModelInfer", request(uint8(100), pixels.tobytes()))
    scores = np.frombuffer(answer.raw_output_contents[1], "<f4").reshape(100, 8)
    assert scores == pytest.approx(toolbox.linear_scores(pixels, seed=2), abs=1e-5)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (request(), "inputs: 0 of them; one is wanted, named images"),
        (request(Tensor(name="image", datatype="UINT8"), b""), "inputs: 'image'; one is wanted, named images"),
        (request(uint8(contents=Contents(uint_contents=PIXELS)), PIXELS), "both contents and raw_input_contents"),
        (request(uint8(), PIXELS, PIXELS), "raw_input_contents: 2 of them for 1 input"),
        (request(uint8(), PIXELS[:-1]), "images: 107 bytes, shape [1, 6, 6, 3] takes 108"),
        (request(uint8(2**62), PIXELS), "images: 108 bytes, shape [4611686018427387904, 6, 6, 3] takes 49"),
        (request(uint8(0), b""), "images: shape [0, 6, 6, 3], the model wants [N, 6, 6, 3]"),
        (request(uint8(-1), PIXELS), "images: shape [-1, 6, 6, 3]"),
        (request(Tensor(name="images", datatype="UINT8"), PIXELS), "images: shape []"),
        (request(Tensor(name="images", datatype="UINT8", shape=[1] * 1000), b"x"), "images: a shape of 1,000 sides"),
        (request(uint8()), "images: 0 elements in contents, shape [1, 6, 6, 3] takes 108"),
        (request(uint8(contents=Contents(uint_contents=[256] * 108))), "images: 256 among the pixels"),
        (request(Tensor(name="images", datatype="INT8", shape=[1, 6, 6, 3]), PIXELS), "datatype 'INT8'; UINT8, BYTES"),
        (
            request(Tensor(name="images", datatype="FP32", shape=[1, 6, 6, 3]), (FLOATS / 255 * 0.5).tobytes()),
            "images: 0.5 among the pixels; whole numbers from 0 to 255 are wanted, unnormalised",
        ),
        (request(Tensor(name="images", datatype="FP32", shape=[1, 6, 6, 3]), (FLOATS + 1).tobytes()), "images: 256"),
        (request(Tensor(name="images", datatype="FP32", shape=[1, 6, 6, 3]), (-FLOATS).tobytes()), "images: -255"),
        (request(Tensor(name="images", datatype="FP32", shape=[1, 6, 6, 3]), (FLOATS * np.nan).tobytes()), "nan among"),
        (request(encoded(1), b"\xff\xd8\xff\xe0" + PIXELS), "an image file without its length before it (4 bytes"),
        (request(encoded(1, 1), b"\x89PNG\r\n\x1a\n" + PIXELS), "an image file without its length before it"),
        (request(encoded(2), struct.pack("<I", 3) + b"abc" + struct.pack("<I", 9) + b"x"), "element 2 ends behind"),
        (request(encoded(1), b"\x01\x00"), "images: element 1 ends behind the tensor's 2 bytes"),
        (request(encoded(2), struct.pack("<I", 1) + b"a"), "images: 1 elements, shape [2] takes 2"),
        (request(encoded(1), (struct.pack("<I", 1) + b"a") * 3), "images: 2 elements, shape [1] takes 1"),
        (request(encoded(1, 2), b""), "images: shape [1, 2]; encoded files come as [N] or [N, 1]"),
        (request(encoded(2**40), b""), "N at most 16,384"),
        (request(encoded(1), struct.pack("<I", 4) + b"rubb"), "image 1 of 1: not a JPEG"),
        (request(uint8(), PIXELS, model_version="v2-abc"), "version 'v2-abc': a whole number is wanted"),
        (request(uint8(), PIXELS, model_version="1" * 30), "a whole number is wanted"),
        (
            request(uint8(), PIXELS, outputs=[Output(name="boxes")]),
            "outputs: 'boxes'; the model gives logits and scores",
        ),
        (request(uint8(), PIXELS, parameters={"sequence_id": parameter(int64_param=1)}), "parameter sequence_id: no"),
        (request(uint8(), PIXELS, parameters={"colour": parameter(bool_param=True)}), "parameter colour: not known"),
        (request(uint8(), PIXELS, parameters={"timeout": parameter(string_param="1")}), "parameter timeout: a whole"),
        (
            request(uint8(parameters={"shared_memory_region": parameter(string_param="x")}), PIXELS),
            "images: shared memory is not offered; send the bytes",
        ),
        (
            request(uint8(), PIXELS, outputs=[Output(name="scores", parameters={"shared_memory_offset": parameter()})]),
            "scores: shared memory is not offered",
        ),
        (
            request(
                uint8(),
                PIXELS,
                outputs=[Output(name="scores", parameters={"classification": parameter(int64_param=-1)})],
            ),
            "parameter classification: a whole number, 0 or more, is wanted",
        ),
    ],
)
def test_a_bad_request_is_told_what_was_found_and_what_is_wanted(ask, asked, says: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        ask("ModelInfer", asked)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert says in raised.value.details()


@pytest.mark.parametrize(
    "parameters",
    [
        {"triton_enable_empty_final_response": parameter(bool_param=False)},  # on every call of the C++ clients
        {"priority": parameter(uint64_param=1), "timeout": parameter(int64_param=20_000_000)},
        {"priority": parameter(int64_param=1), "timeout": parameter(uint64_param=0)},
    ],
)
def test_what_clients_send_by_themselves_is_let_pass(ask, parameters) -> None:
    assert ask("ModelInfer", request(uint8(), PIXELS, parameters=parameters)).model_version == "1"


def test_a_model_or_version_that_is_not_there_is_not_found_and_told_what_is(ask) -> None:
    for asked in (request(uint8(), PIXELS, model_version="9"), infer_pb2.ModelInferRequest(model_name="nobody")):
        with pytest.raises(grpc.RpcError) as raised:
            ask("ModelInfer", asked)
        assert raised.value.code() == grpc.StatusCode.NOT_FOUND
        assert "loaded: student/1, teacher/1" in raised.value.details()


def test_metadata_and_config_name_the_same_tensors_and_whole_versions(ask) -> None:
    metadata = ask("ModelMetadata", service_pb2.ModelMetadataRequest(name="student"))
    config = ask("ModelConfig", config_pb2.ModelConfigRequest(name="student", version="1")).config
    with_batch = {t.name: list(t.shape) for t in (*metadata.inputs, *metadata.outputs)}
    without = {t.name: list(t.dims) for t in (*config.input, *config.output)}
    assert with_batch == {name: [-1, *dims] for name, dims in without.items()}
    assert config.max_batch_size > 0
    assert all(version.isdecimal() for version in metadata.versions)
    assert metadata.properties["precision"] == "fp32"
    assert len(metadata.properties["fingerprint"]) == 64


def test_statistics_are_of_one_moment_and_count_requests_images_and_batches(start, connect, toolbox) -> None:
    with start("--max-queue-delay", "0.001") as server:  # without it sizes are tried, for which a request may be split
        stubs = connect(server.address)
        ask = asker(stubs.channel)
        asked = [request(uint8(count), bytes(108 * count)) for count in (1, 2, 3)]
        calls = stubs.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        last = [0, 0, 0]
        for _ in range(20):
            running = [calls.future(one.SerializeToString(), timeout=PATIENCE) for one in asked]
            (read,) = ask(
                "ModelStatistics", statistics_pb2.ModelStatisticsRequest(name="student", version="1")
            ).model_stats
            spent = read.inference_stats
            counts = {
                spent.queue.count,
                spent.compute_input.count,
                spent.compute_infer.count,
                spent.compute_output.count,
            }
            assert counts == {spent.success.count}
            now = [spent.success.count, read.inference_count, read.execution_count]
            assert all(new >= old for new, old in zip(now, last, strict=True))
            last = now
            for one in running:
                one.result()
        with pytest.raises(grpc.RpcError):
            ask("ModelInfer", request(encoded(1), struct.pack("<I", 4) + b"rubb"))
        every = ask("ModelStatistics", statistics_pb2.ModelStatisticsRequest()).model_stats
        student, teacher = sorted(every, key=lambda one: one.name)
        spent = student.inference_stats
        assert (spent.success.count, spent.fail.count, student.inference_count) == (60, 1, 120)
        parts = spent.queue.ns + spent.compute_input.ns + spent.compute_infer.ns + spent.compute_output.ns
        assert parts == pytest.approx(spent.success.ns, rel=1e-6)
        batches = {batch.batch_size: batch.compute_infer.count for batch in student.batch_stats}
        assert sum(size * count for size, count in batches.items()) == 120
        assert sum(batches.values()) == student.execution_count <= 60
        assert student.last_inference > 0
        assert (teacher.inference_count, teacher.last_inference) == (0, 0)
