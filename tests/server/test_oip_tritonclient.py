"""tritonclient as it is, in one process with our own client."""

import asyncio
import queue

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

import pupil_client

PATIENCE = 20.0


@pytest.fixture
def client(server):
    with triton.InferenceServerClient(server.address) as client:
        yield client


def tensor(array: np.ndarray, datatype: str = "UINT8") -> triton.InferInput:
    filled = triton.InferInput("images", list(array.shape), datatype)
    filled.set_data_from_numpy(array)
    return filled


def files(pictures: list[bytes]) -> np.ndarray:
    return np.array(pictures, dtype=np.object_)


def test_pixels_get_the_scores_that_the_weights_give_and_our_client_gets_the_same(client, server, toolbox) -> None:
    pixels = toolbox.random_pixels(5, seed=3)
    answer = client.infer("student", [tensor(pixels)], request_id="seven", client_timeout=PATIENCE)
    expected = toolbox.linear_scores(pixels, seed=2)
    scores, logits = answer.as_numpy("scores"), answer.as_numpy("logits")
    assert scores == pytest.approx(expected, abs=1e-5)
    assert np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True) == pytest.approx(expected, abs=1e-5)
    told = answer.get_response()
    assert (told.model_name, told.model_version, told.id) == ("student", "1", "seven")
    with pupil_client.Client(server.address) as ours:
        labels = [one.label for one in ours.classify([toolbox.png(image) for image in pixels], model="student")]
    assert labels == [toolbox.classes[best] for best in scores.argmax(axis=1)]


@pytest.mark.parametrize("column", [False, True])
def test_encoded_images_travel_as_bytes(client, toolbox, column: bool) -> None:
    pixels = toolbox.random_pixels(4, seed=5)
    encoded = files([toolbox.png(image) for image in pixels])
    answer = client.infer("student", [tensor(encoded[:, None] if column else encoded, "BYTES")])
    assert answer.as_numpy("scores") == pytest.approx(toolbox.linear_scores(pixels, seed=2), abs=1e-5)


def test_float_pixels_are_the_same_pixels(client, toolbox) -> None:
    pixels = toolbox.random_pixels(3, seed=6)
    answers = [client.infer("student", [tensor(pixels)]), client.infer("student", [tensor(np.float32(pixels), "FP32")])]
    one, other = (answer.as_numpy("scores") for answer in answers)
    assert one.tolist() == other.tolist()


def test_only_the_outputs_that_were_asked_for_come_and_in_that_order(client, toolbox) -> None:
    outputs = [triton.InferRequestedOutput("scores"), triton.InferRequestedOutput("logits")]
    pixels = toolbox.random_pixels(2, seed=1)
    assert [o.name for o in client.infer("student", [tensor(pixels)], outputs=outputs).get_response().outputs] == [
        "scores",
        "logits",
    ]
    only = client.infer("student", [tensor(pixels)], outputs=outputs[:1])
    assert (only.as_numpy("scores").shape, only.as_numpy("logits")) == ((2, 8), None)


def test_the_best_classes_come_as_text_when_asked_for(client, toolbox) -> None:
    pixels = toolbox.random_pixels(3, seed=2)
    asked = triton.InferRequestedOutput("scores", class_count=2)
    rows = client.infer("student", [tensor(pixels)], outputs=[asked]).as_numpy("scores")
    expected = toolbox.linear_scores(pixels, seed=2)
    assert rows.shape == (3, 2)
    for row, scores in zip(rows, expected, strict=True):
        for text, best in zip(row, np.argsort(-scores)[:2], strict=True):
            value, index, label = text.decode().split(":")
            assert (int(index), label) == (best, toolbox.classes[best])
            assert float(value) == pytest.approx(scores[best], abs=2e-6)


def test_asyncio_s_client_gets_each_of_many_callers_its_own_answer(server, toolbox) -> None:
    pixels = toolbox.random_pixels(60, seed=8)

    async def ask() -> list[np.ndarray]:
        async with triton_aio.InferenceServerClient(server.address) as client:
            asked = [client.infer("student", [tensor(image[None])], client_timeout=PATIENCE) for image in pixels]
            return [answer.as_numpy("scores")[0] for answer in await asyncio.gather(*asked)]

    assert np.array(asyncio.run(ask())) == pytest.approx(toolbox.linear_scores(pixels, seed=2), abs=1e-5)


def test_a_stream_answers_in_order_tells_of_a_bad_request_in_its_place_and_goes_on(client, toolbox) -> None:
    pixels = toolbox.random_pixels(20, seed=9)
    came: queue.Queue[tuple[triton.InferResult | None, InferenceServerException | None]] = queue.Queue()
    client.start_stream(lambda result, error: came.put((result, error)), stream_timeout=PATIENCE)
    for place, image in enumerate(pixels):
        name = "nobody" if place == 10 else "student"
        client.async_stream_infer(name, [tensor(image[None])], request_id=str(place))
    answers = [came.get(timeout=PATIENCE) for _ in pixels]
    client.stop_stream()
    _, error = answers.pop(10)
    assert "no model nobody; loaded: student/1" in error.message()
    assert [answer.get_response().id for answer, _ in answers] == [str(place) for place in range(20) if place != 10]
    assert all(answer.get_response().parameters["triton_final_response"].bool_param for answer, _ in answers)
    scores = np.array([answer.as_numpy("scores")[0] for answer, _ in answers])
    assert scores == pytest.approx(np.delete(toolbox.linear_scores(pixels, seed=2), 10, axis=0), abs=1e-5)


def test_a_stream_that_asks_for_grpc_errors_ends_with_the_status(client, toolbox) -> None:
    came: queue.Queue[tuple[object, InferenceServerException | None]] = queue.Queue()
    headers = {"triton_grpc_error": "true"}
    client.start_stream(lambda result, error: came.put((result, error)), stream_timeout=PATIENCE, headers=headers)
    client.async_stream_infer("nobody", [tensor(toolbox.random_pixels(1, seed=0))])
    _, error = came.get(timeout=PATIENCE)
    assert error.status() == "StatusCode.NOT_FOUND"
    client.stop_stream()


def test_what_a_client_reads_about_the_server_and_a_model(client) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("student")
    assert client.is_model_ready("student", "1")
    assert not client.is_model_ready("student", "9")
    assert not client.is_model_ready("nobody")
    about = client.get_server_metadata()
    assert about.name == "pupil"
    assert {"statistics", "classification", "model_repository", "parameters"} <= set(about.extensions)
    model = client.get_model_metadata("student")
    tensors = {one.name: (one.datatype, list(one.shape)) for one in (*model.inputs, *model.outputs)}
    assert (model.name, list(model.versions)) == ("student", ["1"])
    assert tensors == {"images": ("UINT8", [-1, 6, 6, 3]), "logits": ("FP32", [-1, 8]), "scores": ("FP32", [-1, 8])}
    config = client.get_model_config("student").config
    dims = {one.name: list(one.dims) for one in (*config.input, *config.output)}
    assert dims == {"images": [6, 6, 3], "logits": [8], "scores": [8]}
    assert (config.max_batch_size, config.backend, config.platform) == (32, "onnxruntime", "onnxruntime_onnx")
    assert config.HasField("dynamic_batching")
    assert not config.HasField("sequence_batching")


def test_models_are_listed_loaded_and_unloaded(start, toolbox, repository) -> None:
    toolbox.write_bundle(repository, "student", 2, seed=3)
    with start() as server, triton.InferenceServerClient(server.address) as client:

        def states() -> dict[tuple[str, str], str]:
            return {(one.name, one.version): one.state for one in client.get_model_repository_index().models}

        pixels = toolbox.random_pixels(1, seed=4)
        assert client.infer("student", [tensor(pixels)]).get_response().model_version == "2"
        assert states()["student", "1"] == "UNAVAILABLE"
        client.unload_model("student")
        assert not client.is_model_ready("student")
        assert {state for (name, _), state in states().items() if name == "student"} == {"UNAVAILABLE"}
        client.load_model("student")
        assert states()["student", "2"] == "READY"
        assert client.infer("student", [tensor(pixels)]).as_numpy("scores") == pytest.approx(
            toolbox.linear_scores(pixels, seed=3), abs=1e-5
        )
        with pytest.raises(InferenceServerException, match="from the repository alone"):
            client.load_model("student", config="{}")


def test_shared_memory_is_not_implemented(client) -> None:
    with pytest.raises(InferenceServerException) as raised:
        client.get_system_shared_memory_status()
    assert raised.value.status() == "StatusCode.UNIMPLEMENTED"


def test_a_client_s_time_limit_is_a_deadline(client, toolbox) -> None:
    with pytest.raises(InferenceServerException) as raised:
        client.infer("student", [tensor(toolbox.random_pixels(1, seed=0))], timeout=1)  # microseconds, in the request
    assert raised.value.status() == "StatusCode.DEADLINE_EXCEEDED"
