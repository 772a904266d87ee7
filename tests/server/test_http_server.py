"""What one more connection costs, with a call in flight on it."""

import queue
from contextlib import ExitStack

import grpc
import pytest

from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import inference_pb2_grpc

PATIENCE = 60.0
CONNECTIONS, MOST_KB = 120, 100


def test_a_connection_with_a_call_on_it_takes_less_than_100_kb(repository, toolbox) -> None:
    pytest.importorskip("pupil_server.nghttp2.binding", exc_type=ImportError, reason="the lean front needs libnghttp2")
    height, width, channels = toolbox.height, toolbox.width, toolbox.channels
    data = toolbox.random_pixels(1, seed=0).tobytes()
    pixels = pb.Pixels(data=data, count=1, height=height, width=width, channels=channels)
    asked = pb.ClassifyRequest(model=pb.ModelSpec(name="student"), images=pb.Images(pixels=pixels))

    def talk(address: str, opened: ExitStack) -> None:
        """A connection of its own, and a stream on it that was answered once and goes on."""
        channel = opened.enter_context(grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]))
        requests: queue.SimpleQueue[pb.ClassifyRequest | None] = queue.SimpleQueue()
        opened.callback(requests.put, None)
        requests.put(asked)
        stream = inference_pb2_grpc.InferenceStub(channel).ClassifyStream(iter(requests.get, None), timeout=PATIENCE)
        assert next(stream).predictions
        opened.callback(stream.cancel)

    with toolbox.run_server(repository, "--front", "nghttp2") as server, ExitStack() as opened:
        before = server.memory_mb()
        for _ in range(CONNECTIONS):
            talk(server.address, opened)
        assert (server.memory_mb() - before) * 1000 / CONNECTIONS < MOST_KB
