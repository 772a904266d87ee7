import json
import os
import threading
from pathlib import Path

import grpc
import pytest

from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import models_pb2

PATIENCE = 20.0
STUDENT = pb.ModelSpec(name="student")


def classify(toolbox, count: int) -> pb.ClassifyRequest:
    data = toolbox.random_pixels(count, seed=0).tobytes()
    pixels = pb.Pixels(data=data, count=count, height=6, width=6, channels=3)
    return pb.ClassifyRequest(model=STUDENT, images=pb.Images(pixels=pixels))


class Talk:
    """A stream that says one thing, and then stays open until it is let go."""

    def __init__(self, stubs, request: pb.ClassifyRequest) -> None:
        self.let_go = threading.Event()
        self.answers = stubs.inference.ClassifyStream(self._requests(request), timeout=PATIENCE)

    def _requests(self, request: pb.ClassifyRequest):
        yield request
        self.let_go.wait(PATIENCE)


def test_more_images_in_one_request_than_allowed_are_told_the_limit(start, connect, toolbox) -> None:
    with start("--max-request-images", "10") as server:
        stubs = connect(server.address)
        assert len(stubs.inference.Classify(classify(toolbox, 10), timeout=PATIENCE).predictions) == 10
        with pytest.raises(grpc.RpcError) as refused:
            stubs.inference.Classify(classify(toolbox, 11), timeout=PATIENCE)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert refused.value.details() == "11 images in one request, at most 10 are allowed; send fewer"


def test_more_calls_at_once_than_allowed_are_turned_away_in_words(start, connect, toolbox) -> None:
    with start("--max-calls", "2") as server:
        stubs = connect(server.address)
        talks = [Talk(stubs, classify(toolbox, 1)) for _ in range(2)]
        for talk in talks:
            assert next(talk.answers).predictions
        with pytest.raises(grpc.RpcError) as refused:
            stubs.models.List(models_pb2.ListModelsRequest(), timeout=PATIENCE)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused.value.details() == "2 calls are already in work; try again later"
        for talk in talks:
            talk.let_go.set()
            assert list(talk.answers) == []
        stubs.models.List(models_pb2.ListModelsRequest(), timeout=PATIENCE)


def test_a_connection_carries_no_more_calls_at_once_than_allowed_and_another_one_is_not_disturbed(
    start, connect, toolbox
) -> None:
    with start("--max-streams", "2") as server:
        stubs = connect(server.address)
        talks = [Talk(stubs, classify(toolbox, 1)) for _ in range(2)]
        for talk in talks:
            assert next(talk.answers).predictions
        third = stubs.models.List.future(models_pb2.ListModelsRequest(), timeout=PATIENCE)
        other = grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)])
        with other:  # a channel of this process would share the connection otherwise
            other.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=PATIENCE)
        assert not third.done()  # it waits in its client, as HTTP/2 asks
        talks[0].let_go.set()
        assert list(talks[0].answers) == []
        assert third.result(timeout=PATIENCE).models
        talks[1].let_go.set()


def test_a_connection_that_is_old_enough_is_replaced_without_a_failed_call(start, connect, becomes) -> None:
    with start("--max-connection-age", "0.2", "--access-log", "1", "--log-format", "json") as server:
        listing = connect(server.address).models.List

        def connections() -> int:
            listing(models_pb2.ListModelsRequest(), timeout=PATIENCE)  # answered, whatever becomes of its connection
            lines = [json.loads(line) for line in server.log.read_text().splitlines()]
            return len({line["peer"] for line in lines if "peer" in line})

        becomes(lambda: connections() >= 3)


def test_a_call_that_outlives_its_connections_grace_is_cut_and_without_one_it_is_not(start, connect, toolbox) -> None:
    for grace, cut in (("0.1", True), ("0", False)):
        with start("--max-connection-age", "0.2", "--max-connection-grace", grace) as server:
            talk = Talk(connect(server.address), classify(toolbox, 1))
            assert next(talk.answers).predictions
            ended = threading.Event()
            talk.answers.add_done_callback(lambda _, ended=ended: ended.set())
            assert ended.wait(1.0 if not cut else PATIENCE) == cut
            talk.let_go.set()
            if not cut:
                assert list(talk.answers) == []


def test_on_one_core_each_model_has_one_thread(tmp_path: Path, toolbox) -> None:
    for number in range(8):
        toolbox.write_bundle(tmp_path / "repository", f"model-{number}", seed=number)

    def threads(*options: str) -> int:
        with toolbox.run_server(tmp_path / "repository", *options) as server:
            return len(list(Path(f"/proc/{server.process.pid}/task").iterdir()))

    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(ours)})  # the server inherits it
    try:
        fewer = threads("--threads", "4") - threads()
    finally:
        os.sched_setaffinity(0, ours)
    assert fewer == pytest.approx(8 * 3, abs=4)  # two threads a model would make it 8 × 2
