"""Many callers at once, some of whom hang up or run out of time: PUPIL_FUZZ sets how many."""

import asyncio
import os
import random
import urllib.request

import grpc
import grpc.aio
import numpy as np
import pytest

from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import inference_pb2_grpc

STUDENT = pb.ModelSpec(name="student")
REQUESTS = int(os.environ.get("PUPIL_FUZZ", "4000"))
IN_FLIGHT = 64
FAIR = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}


class Outcome:
    def __init__(self) -> None:
        self.right = self.gone = 0
        self.wrong: list[object] = []


async def ask(stub, pixels: np.ndarray, expected: np.ndarray, fate: random.Random, outcome: Outcome) -> None:
    """One request with images that nobody else sends; its caller may hang up or have next to no time."""
    chance = fate.random()
    timeout = fate.uniform(0.0002, 0.01) if chance < 0.15 else 60.0
    images = pb.Images(pixels=pb.Pixels(data=pixels.tobytes(), count=len(pixels), height=6, width=6, channels=3))
    request = pb.ClassifyRequest(model=STUDENT, images=images, scores=True)
    call = stub.Classify(request, timeout=timeout, metadata=[("pupil-priority", fate.choice(("interactive", "bulk")))])
    if 0.15 <= chance < 0.3:
        asyncio.get_running_loop().call_later(fate.uniform(0, 0.005), call.cancel)
    try:
        answer = await call
    except asyncio.CancelledError:
        outcome.gone += 1
    except grpc.aio.AioRpcError as error:
        if error.code() in FAIR and chance < 0.3:
            outcome.gone += 1
        else:
            outcome.wrong.append(error)
    else:
        scores = np.array([prediction.scores for prediction in answer.predictions])
        if scores.shape == expected.shape and np.abs(scores - expected).max() < 1e-5:
            outcome.right += 1
        else:
            outcome.wrong.append((scores, expected))


async def storm(address: str, toolbox, requests: int, seed: int) -> Outcome:
    fate, outcome, places = random.Random(seed), Outcome(), asyncio.Semaphore(IN_FLIGHT)
    pixels = toolbox.random_pixels(requests + 8, seed=seed)
    expected = toolbox.linear_scores(pixels, seed=2)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = inference_pb2_grpc.InferenceStub(channel)

        async def one(start: int) -> None:
            async with places:
                rows = slice(start, start + fate.choice((1, 1, 1, 2, 8)))
                await ask(stub, pixels[rows], expected[rows], fate, outcome)

        async with asyncio.timeout(60 + requests / 50):
            await asyncio.gather(*(one(start) for start in range(requests)))
    return outcome


def test_of_thousands_of_requests_with_random_cancels_and_deadlines_every_caller_gets_its_own_answer(
    start, toolbox
) -> None:
    with start() as server:
        warm = asyncio.run(storm(server.address, toolbox, 2000, seed=1))
        before = server.memory_mb()
        outcome = asyncio.run(storm(server.address, toolbox, REQUESTS, seed=2))
        assert warm.wrong == outcome.wrong == []
        assert outcome.right + outcome.gone == REQUESTS
        assert outcome.right >= 0.6 * REQUESTS
        assert outcome.gone > REQUESTS / 20
        assert server.memory_mb() < 1.1 * before + 5
        with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=20) as page:
            metrics = page.read().decode()
        assert "\npupil_in_flight_requests 0.0\n" in metrics
        assert '\npupil_queue_images{model="student",version="1"} 0.0\n' in metrics
        assert "Traceback" not in server.log.read_text()


def test_a_full_queue_refuses_at_once_with_when_to_come_back_and_recovers(start, toolbox) -> None:
    pixels = toolbox.random_pixels(64, seed=0)
    images = pb.Images(pixels=pb.Pixels(data=pixels.tobytes(), count=64, height=6, width=6, channels=3))
    request = pb.ClassifyRequest(model=STUDENT, images=images)

    async def flood(address: str) -> list[object]:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = inference_pb2_grpc.InferenceStub(channel)
            calls = [stub.Classify(request, timeout=60) for _ in range(300)]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            await stub.Classify(request, timeout=60)
            return outcomes

    with start("--max-queue-images", "100", "--max-batch", "1") as server:
        outcomes = asyncio.run(flood(server.address))
    refused = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert refused
    assert len(refused) < 300
    for error in refused:
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "of at most 100 images are already waiting; try again later" in error.details()
        assert int(dict(error.trailing_metadata())["retry-after-ms"]) >= 1


def test_a_labelling_stream_waits_at_a_full_door_instead_of_failing(start, toolbox, connect) -> None:
    pixels = toolbox.random_pixels(60, seed=0)
    images = pb.Images(pixels=pb.Pixels(data=pixels.tobytes(), count=60, height=6, width=6, channels=3))
    plan = pb.LabelPlan(model=STUDENT, guarantee=pb.GUARANTEE_NONE)
    requests = [pb.PseudoLabelRequest(plan=plan), *[pb.PseudoLabelRequest(images=images)] * 50]
    with start("--max-queue-images", "100", "--max-batch", "4") as server:
        answers = list(connect(server.address).inference.PseudoLabel(iter(requests), timeout=60))
    assert [len(answer.labels) for answer in answers] == [60] * 50


def test_one_request_for_more_images_than_the_queue_holds_is_told_so(start, toolbox, connect) -> None:
    pixels = toolbox.random_pixels(101, seed=0)
    images = pb.Images(pixels=pb.Pixels(data=pixels.tobytes(), count=101, height=6, width=6, channels=3))
    with start("--max-queue-images", "100") as server:
        with pytest.raises(grpc.RpcError) as raised:
            connect(server.address).inference.Classify(pb.ClassifyRequest(model=STUDENT, images=images), timeout=20)
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "101 images in one request, at most 100 are allowed; send fewer" in raised.value.details()
