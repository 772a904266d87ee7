"""Plain requests that are answered in the turn that brought them, beside the usual way."""

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from pupil_proto.oip.v2 import infer_pb2 as oip
from pupil_proto.v1 import inference_pb2 as pb
from pupil_server.method import Failure, Method
from pupil_server.pace import KNOWN
from pupil_server.priority import KEY

CLASSIFY, INFER = "pupil.v1.Inference/Classify", "inference.GRPCInferenceService/ModelInfer"


def classify(pixels, name: str = "student", **more: object) -> bytes:
    count, height, width, channels = pixels.shape
    raw = pb.Pixels(data=pixels.tobytes(), count=count, height=height, width=width, channels=channels)
    request = pb.ClassifyRequest(model=pb.ModelSpec(name=name), images=pb.Images(pixels=raw), **more)  # type: ignore[arg-type]
    return request.SerializeToString()


def infer(pixels, kind: str = "UINT8", **more: object) -> bytes:
    raw = pixels.astype({"UINT8": np.uint8, "FP32": np.float32}[kind]).tobytes()
    tensor = oip.ModelInferRequest.InferInputTensor(name="images", datatype=kind, shape=pixels.shape)
    request = oip.ModelInferRequest(model_name="student", inputs=[tensor], raw_input_contents=[raw], **more)  # type: ignore[arg-type]
    return request.SerializeToString()


def without_times(path: str, answer: bytes) -> bytes:
    if path == INFER:
        return answer
    response = pb.ClassifyResponse.FromString(answer)
    assert 0 < response.answered_by.compute_seconds < 60
    response.answered_by.queue_seconds = response.answered_by.compute_seconds = 0
    return response.SerializeToString(deterministic=True)


Output = oip.ModelInferRequest.InferRequestedOutputTensor
KINDS: dict[str, tuple[str, Callable]] = {
    "the best class": (CLASSIFY, classify),
    "several classes": (CLASSIFY, lambda pixels: classify(pixels, top_k=2)),
    "all scores": (CLASSIFY, lambda pixels: classify(pixels, top_k=3, scores=True)),
    "the teacher": (CLASSIFY, lambda pixels: classify(pixels, "teacher")),
    "uint8": (INFER, infer),
    "float32": (INFER, lambda pixels: infer(pixels, "FP32")),
    "an id": (INFER, lambda pixels: infer(pixels, id="number 17")),
    "one output": (INFER, lambda pixels: infer(pixels, outputs=[Output(name="scores")])),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_the_one_of_the_usual_way(serving, toolbox, kind: str) -> None:
    path, make = KINDS[kind]

    async def story(served) -> None:
        if kind == "the teacher":
            for _ in range(KNOWN):
                await served.usually(path, make(toolbox.random_pixels(1, seed=0)))
        requests = [make(toolbox.random_pixels(number, seed=seed)) for number, seed in ((1, 1), (1, 2), (3, 3), (2, 4))]
        if kind == "the teacher":
            requests = requests[:1]
        answers = served.at_once(path, *requests)
        for request, answer in zip(requests, answers, strict=True):
            assert answer is not None
            assert without_times(path, answer) == without_times(path, await served.usually(path, request))

    serving(story)


def test_requests_of_all_kinds_share_batches_and_more_than_one_batch_is_run(serving, toolbox) -> None:
    async def story(served) -> None:
        statistics = served.repository.get(pb.ModelSpec(name="student")).statistics
        before = {size: spent.count for size, spent in statistics.batches.items()}
        pixels = [toolbox.random_pixels(1, seed=seed) for seed in range(12)]
        requests = [classify(each, top_k=1 + place % 3) for place, each in enumerate(pixels)]
        answers = served.at_once(CLASSIFY, *requests)
        assert None not in answers
        batches = {size: spent.count - before.get(size, 0) for size, spent in statistics.batches.items()}
        assert sum(size * count for size, count in batches.items()) == 12
        assert 2 <= sum(batches.values()) < 12
        for each, answer in zip(pixels, answers, strict=True):
            top = pb.ClassifyResponse.FromString(answer).predictions[0].top[0]
            assert top.index == int(toolbox.linear_scores(each, seed=2).argmax())

    serving(story)


def test_everything_is_counted_as_on_the_usual_way(serving, toolbox) -> None:
    async def story(served) -> None:
        model = served.repository.get(pb.ModelSpec(name="student"))
        numbers = served.dispatcher._metrics.registry.get_sample_value

        def counted() -> list[float | None]:
            labels, path = {"model": "student", "version": "1"}, {"method": CLASSIFY}
            return [
                numbers("pupil_requests_total", {**path, "code": "OK"}),
                numbers("pupil_request_seconds_count", path),
                numbers("pupil_queue_seconds_count", labels),
                numbers("pupil_batch_images_sum", labels),
                model.statistics.answered.count,
                model.statistics.images,
                model.statistics.failed.count,
                numbers("pupil_queue_images", labels),
            ]

        request = classify(toolbox.random_pixels(2, seed=1))
        begun = counted()
        await served.usually(CLASSIFY, request)
        usual = counted()
        assert None not in served.at_once(CLASSIFY, request)
        added = [end - start for end, start in zip(usual, begun, strict=True)]
        assert [end - start for end, start in zip(counted(), usual, strict=True)] == added

    serving(story)


@pytest.mark.parametrize(
    ("path", "request_of"),
    [
        (CLASSIFY, lambda pixels: b"\xff"),
        (CLASSIFY, lambda pixels: classify(pixels, "nobody")),
        (CLASSIFY, lambda pixels: classify(pixels[:, :3])),
        (CLASSIFY, lambda pixels: classify(pixels, cascade=pb.Cascade())),
        (CLASSIFY, lambda pixels: classify(pixels[:0])),
        (CLASSIFY, lambda pixels: classify(pixels)[:-1] + b"\x07"),
        (CLASSIFY, lambda pixels: classify(np.zeros((9, 6, 6, 3), np.uint8))),  # more than a batch
        (INFER, lambda pixels: infer(pixels + 0.5, "FP32")),
        (INFER, lambda pixels: infer(pixels, parameters={"timeout": oip.InferParameter(int64_param=10**6)})),
        (INFER, lambda pixels: infer(pixels, outputs=[Output(name="nothing")])),
        (INFER, lambda pixels: infer(pixels, id="a") + oip.ModelInferRequest(id="b").SerializeToString()),
        (INFER, lambda pixels: infer(pixels, model_version="one")),
    ],
)
def test_a_request_that_is_not_plain_or_not_right_is_left_and_spoils_no_other(
    serving, toolbox, path: str, request_of: Callable
) -> None:
    async def story(served) -> None:
        pixels = toolbox.random_pixels(1, seed=1)
        plain = {CLASSIFY: classify, INFER: infer}[path](pixels)
        odd = request_of(pixels)
        failed = served.repository.get(pb.ModelSpec(name="student")).statistics.failed.count
        if path == INFER and not odd.isascii() and b"FP32" in odd:
            assert served.at_once(path, odd) == [None]
        else:
            first, left, last = served.at_once(path, plain, odd, plain)
            assert first is not None
            assert left is None
            assert last is not None
        assert served.repository.get(pb.ModelSpec(name="student")).statistics.failed.count == failed

    serving(story)


@pytest.mark.parametrize(
    "call", [{"deadline": -1.0}, {"metadata": {KEY: "bulk"}}, {"metadata": {KEY: "unknown"}}], ids=["late", "bulk", "?"]
)
def test_a_call_that_is_late_or_has_time_is_left(serving, toolbox, call: dict[str, object]) -> None:
    async def story(served) -> None:
        assert served.at_once(CLASSIFY, classify(toolbox.random_pixels(1, seed=1)), **call) == [None]

    serving(story)


def test_nothing_is_answered_at_once_while_others_wait_or_the_model_works(serving, toolbox) -> None:
    async def story(served) -> None:
        request = classify(toolbox.random_pixels(1, seed=1))
        waiting = asyncio.create_task(served.usually(CLASSIFY, request))
        await asyncio.sleep(0)  # it is in the queue, and the turn has not ended
        assert served.at_once(CLASSIFY, request) == [None]
        await waiting
        assert served.at_once(CLASSIFY, request) != [None]

    serving(story)


def test_a_model_that_fails_fails_on_the_usual_way_and_counts_nothing_before(serving, toolbox, monkeypatch) -> None:
    async def story(served) -> None:
        model = served.repository.get(pb.ModelSpec(name="student"))

        def broken(pixels):
            raise RuntimeError("the model broke")

        monkeypatch.setattr(model._batcher, "_predict", broken)
        request, images = classify(toolbox.random_pixels(1, seed=1)), model.statistics.images
        assert served.at_once(CLASSIFY, request) == [None]
        assert model.statistics.images == images
        with pytest.raises(Failure, match="internal error"):
            await served.usually(CLASSIFY, request)

    serving(story)


@pytest.mark.parametrize("settings", [{"max_queue_delay": 0.001}, {"drift": True}, {"max_calls": 1}])
def test_nothing_is_answered_at_once_where_an_operator_wants_what_only_the_usual_way_does(
    serving, toolbox, settings: dict[str, object]
) -> None:
    async def story(served) -> None:
        two = [classify(toolbox.random_pixels(1, seed=seed)) for seed in (1, 2)]
        assert served.at_once(CLASSIFY, *two) == [None, None]

    serving(story, **settings)


def test_who_unloads_a_model_leaves_none_that_answers_at_once(serving, toolbox) -> None:
    async def story(served) -> None:
        request = classify(toolbox.random_pixels(1, seed=1))
        assert served.at_once(CLASSIFY, request) != [None]
        model = served.repository.get(pb.ModelSpec(name="student"))
        with model:
            unloading = asyncio.create_task(served.repository.unload("student"))
            while not model.retired:  # noqa: ASYNC110  the next turns of the loop see to it
                await asyncio.sleep(0)
            assert served.at_once(CLASSIFY, request) == [None]
        await unloading
        assert served.at_once(CLASSIFY, request) == [None]

    serving(story)


def test_calls_are_told_to_the_log_by_their_ids(serving, toolbox, caplog) -> None:
    async def story(served) -> None:
        caplog.set_level("INFO", "pupil.access")
        assert served.at_once(CLASSIFY, classify(toolbox.random_pixels(1, seed=1)), id="mine") != [None]
        assert [record.facts["code"] for record in caplog.records if record.name == "pupil.access"][-1] == "OK"

    serving(story, access_log=1.0)


def methods_with_answers_at_once(methods: dict[str, Method]) -> set[str]:
    return {path for path, method in methods.items() if method.at_once}


def test_the_two_calls_that_carry_most_traffic_are_those(serving) -> None:
    async def story(served) -> None:
        assert methods_with_answers_at_once(served.methods) == {CLASSIFY, INFER}

    serving(story)
