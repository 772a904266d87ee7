"""What goes wrong in production, done to a real server process."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import onnx
from onnx import numpy_helper

from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import inference_pb2_grpc, models_pb2, models_pb2_grpc

PATIENCE = 30.0
SWAPS = int(os.environ.get("PUPIL_TEST_SWAPS", "50"))
STREAMS = int(os.environ.get("PUPIL_TEST_STREAMS", "1000"))
STUDENT = pb.ModelSpec(name="student")
Work = Callable[[], Awaitable[None]]


def request(pixels: np.ndarray, **more: object) -> pb.ClassifyRequest:
    images = pb.Images(pixels=pb.Pixels(data=pixels.tobytes(), count=len(pixels), height=6, width=6, channels=3))
    return pb.ClassifyRequest(model=STUDENT, images=images, scores=True, **more)


def metric(address: str, name: str) -> float:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=PATIENCE) as page:
        found = re.search(rf"^{re.escape(name)} (\S+)$", page.read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


def facts(bundle: Path) -> dict[str, object]:
    return json.loads((bundle / "bundle.json").read_bytes())  # type: ignore[no-any-return]


@contextlib.asynccontextmanager
async def busily(work: Work, *, callers: int) -> AsyncIterator[None]:
    """Inside, so many callers do this work again and again; what one of them raises is raised at the end."""
    enough = asyncio.Event()

    async def again() -> None:
        while not enough.is_set():
            await work()

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(again())
        try:
            yield
        finally:
            enough.set()


# Versions


def test_fifty_swaps_under_load_fail_no_request_and_every_answer_is_of_the_version_that_it_names(
    start, toolbox, repository
) -> None:
    toolbox.write_bundle(repository, "student", 2, seed=12)
    seeds, answered = {1: 2, 2: 12}, dict.fromkeys((1, 2), 0)
    pixels = toolbox.random_pixels(40, seed=0)
    expected = {version: toolbox.linear_scores(pixels, seed) for version, seed in seeds.items()}
    pick = np.random.default_rng(0)

    def check(rows: slice, answer: pb.ClassifyResponse) -> None:
        assert not answer.HasField("error")
        scores = np.array([prediction.scores for prediction in answer.predictions])
        assert np.abs(scores - expected[answer.answered_by.version][rows]).max() < 1e-5
        answered[answer.answered_by.version] += 1

    async def run(address: str) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            inference, models = inference_pb2_grpc.InferenceStub(channel), models_pb2_grpc.ModelsStub(channel)

            async def alone() -> None:
                first = int(pick.integers(32))
                rows = slice(first, first + int(pick.integers(1, 8)))
                check(rows, await inference.Classify(request(pixels[rows]), timeout=PATIENCE))

            async def on_a_stream() -> None:
                stream = inference.ClassifyStream(iter([request(pixels)] * 5), timeout=PATIENCE)
                async for answer in stream:
                    check(slice(0, 40), answer)

            async with busily(alone, callers=6), busily(on_a_stream, callers=2):
                for swap in range(SWAPS):
                    version = 1 + swap % 2
                    load = models_pb2.LoadModelRequest(name="student", version=version)
                    assert (await models.Load(load, timeout=PATIENCE)).version == version
                    before = answered[version]
                    await until(lambda: answered[version] > before)  # noqa: B023  called now

    with start() as server:
        asyncio.run(asyncio.wait_for(run(server.address), timeout=120))
        assert "Traceback" not in server.log.read_text()
    assert min(answered.values()) >= SWAPS // 2


def heavy(bundle: Path, hidden: int = 40_000) -> None:
    """The same answers from a graph with 18 MB more of weights: most of a wide layer in the middle leads nowhere."""
    model = onnx.load(bundle / "model.onnx")
    weights = next(weight for weight in model.graph.initializer if weight.name == "weights")
    linear = numpy_helper.to_array(weights)
    wide = np.random.default_rng(0).normal(size=(len(linear), hidden)).astype(np.float32)
    wide[:, : linear.shape[1]] = linear
    weights.CopyFrom(numpy_helper.from_array(wide, "weights"))
    model.graph.initializer.append(numpy_helper.from_array(np.eye(hidden, linear.shape[1], dtype=np.float32), "narrow"))
    multiply = next(node for node in model.graph.node if node.op_type == "MatMul")
    multiply.output[0] = "wide"
    place = list(model.graph.node).index(multiply) + 1
    model.graph.node.insert(place, onnx.helper.make_node("MatMul", ["wide", "narrow"], ["logits"]))
    onnx.save(model, bundle / "model.onnx")


def test_twenty_reloads_of_a_large_model_leave_the_memory_level(start, toolbox, connect, repository) -> None:
    toolbox.write_bundle(repository, "student", 2, seed=2)
    for version in (1, 2):
        heavy(repository / f"student/{version}")
        toolbox.seal(repository / f"student/{version}", facts(repository / f"student/{version}"))
    asked = request(toolbox.random_pixels(1, seed=0))
    with start("--models", "student") as server:
        stubs = connect(server.address)
        levels = []
        for reload in range(24):
            load = models_pb2.LoadModelRequest(name="student", version=1 + reload % 2)
            stubs.models.Load(load, timeout=PATIENCE)
            stubs.inference.Classify(asked, timeout=PATIENCE)
            levels.append(server.memory_mb())
        assert max(levels[12:]) < max(levels[:12]) + 50  # one session that stays behind is 18 MB, twelve are 216


def test_a_half_written_version_leaves_the_live_one_alone_and_takes_over_once_it_is_whole(
    start, toolbox, connect, repository
) -> None:
    whole = toolbox.write_bundle(repository.parent, "student", 2, seed=3)
    half = repository / "student/2"
    asked = request(toolbox.random_pixels(1, seed=0))
    with start("--watch", "0.05") as server:
        stubs = connect(server.address)

        def state() -> models_pb2.ModelInfo:
            listed = stubs.models.List(models_pb2.ListModelsRequest(), timeout=PATIENCE).models
            return next((model for model in listed if (model.name, model.version) == ("student", 2)), listed[0])

        shutil.copytree(whole, half, ignore=shutil.ignore_patterns("1.png"))
        while state().state != models_pb2.STATE_FAILED:  # it stands still, half as it is: it is tried, once
            assert stubs.inference.Classify(asked, timeout=PATIENCE).answered_by.version == 1
        assert state().reason == "student/2/golden/1.png: No such file or directory; export it again"
        shutil.copy(whole / "golden/1.png", half / "golden/1.png")
        while stubs.inference.Classify(asked, timeout=PATIENCE).answered_by.version == 1:
            pass
        assert server.log.read_text().count("student/2 is not loaded") == 1


# Ends


def test_every_request_that_was_inside_at_sigterm_is_answered_and_later_ones_hear_unavailable(start, toolbox) -> None:
    pixels = toolbox.random_pixels(64, seed=0)
    expected = toolbox.linear_scores(pixels, seed=2)

    async def run(server) -> tuple[list[object], int]:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = inference_pb2_grpc.InferenceStub(channel)
            first = [asyncio.ensure_future(stub.Classify(request(pixels), timeout=PATIENCE)) for _ in range(200)]
            await until(lambda: any(call.done() for call in first))
            inside = int(await asyncio.to_thread(metric, server.http, "pupil_in_flight_requests"))
            server.process.send_signal(signal.SIGTERM)
            late = [asyncio.ensure_future(stub.Classify(request(pixels), timeout=PATIENCE)) for _ in range(50)]
            outcomes = await asyncio.gather(*first, *late, return_exceptions=True)
            return outcomes, inside

    with start("--max-batch", "1", "--max-queue-images", "20000") as server:
        outcomes, inside = asyncio.run(run(server))
        assert server.process.wait(timeout=PATIENCE) == 0
        assert "Traceback" not in server.log.read_text()
    answers = [outcome for outcome in outcomes if isinstance(outcome, pb.ClassifyResponse)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert len(answers) >= inside > 0
    assert {error.code() for error in refused} <= {grpc.StatusCode.UNAVAILABLE}
    assert len(answers) + len(refused) == 250
    for answer in answers:
        scores = np.array([prediction.scores for prediction in answer.predictions])
        assert np.abs(scores - expected).max() < 1e-5


def test_after_a_kill_under_load_a_restart_serves_the_same_versions_and_aliases(
    start, toolbox, connect, repository
) -> None:
    toolbox.write_bundle(repository, "student", 2, seed=3)
    asked = request(toolbox.random_pixels(1, seed=0))

    async def until_killed(server) -> list[grpc.StatusCode]:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = inference_pb2_grpc.InferenceStub(channel)

            async def again() -> grpc.StatusCode:
                while True:
                    try:
                        await stub.Classify(asked, timeout=PATIENCE)
                    except grpc.aio.AioRpcError as error:
                        return error.code()

            callers = [asyncio.create_task(again()) for _ in range(8)]
            await stub.Classify(asked, timeout=PATIENCE)
            server.process.kill()
            return await asyncio.gather(*callers)

    with start("--versions", "all") as server:
        alias = models_pb2.SetAliasRequest(name="student", alias="stable", version=1)
        connect(server.address).models.SetAlias(alias, timeout=PATIENCE)
        (repository / "student/.aliases-4711.json").write_text("{")  # what a kill in the middle of a write leaves
        assert set(asyncio.run(until_killed(server))) == {grpc.StatusCode.UNAVAILABLE}
        port = server.address.rpartition(":")[2]
    with start("--port", port) as again:
        asked.model.alias = "stable"
        stubs = connect(again.address)
        assert stubs.inference.Classify(asked, timeout=PATIENCE, wait_for_ready=True).answered_by.version == 1
        asked.model.version = 2
        assert stubs.inference.Classify(asked, timeout=PATIENCE).answered_by.version == 2


# Callers


def test_a_reader_who_does_not_read_stops_its_own_stream_and_nothing_else(start, toolbox, connect) -> None:
    pixels = toolbox.random_pixels(512, seed=0)
    asked, total, sent = request(pixels), 450, []  # 20 MB of answers, of which none is taken

    def requests() -> Iterator[pb.ClassifyRequest]:
        for number in range(total):
            sent.append(number)
            yield asked

    with start() as server:
        slow, neighbour = connect(server.address), connect(server.address)
        neighbour.inference.Classify(asked, timeout=PATIENCE)
        before = server.memory_mb()
        answers = slow.inference.ClassifyStream(requests(), timeout=120)
        seen = -1
        while len(sent) != seen:  # until nothing moves any more
            seen = len(sent)
            for _ in range(20):
                neighbour.inference.Classify(asked, timeout=PATIENCE)
        assert 0 < len(sent) < total
        assert server.memory_mb() < before + 40
        assert sum(len(answer.predictions) == 512 for answer in answers) == total  # it goes on where it stood


def test_a_client_that_opens_a_thousand_streams_is_served_and_so_is_its_neighbour(start, toolbox, connect) -> None:
    asked = request(toolbox.random_pixels(1, seed=0))

    async def flood(address: str) -> int:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = inference_pb2_grpc.InferenceStub(channel)

            async def one() -> int:
                stream = stub.ClassifyStream(iter([asked]), timeout=PATIENCE)
                return sum([not answer.HasField("error") async for answer in stream])

            return sum(await asyncio.gather(*(one() for _ in range(STREAMS))))

    async def beside(server) -> int:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = inference_pb2_grpc.InferenceStub(channel)
            async with busily(lambda: stub.Classify(asked, timeout=PATIENCE), callers=1):
                return await flood(server.address)

    with start() as server:
        assert asyncio.run(flood(server.address)) == STREAMS
        before = server.memory_mb()
        assert asyncio.run(beside(server)) == STREAMS
        assert server.memory_mb() < before + 20
        assert metric(server.http, "pupil_in_flight_requests") == 0
