import asyncio
import contextlib
import subprocess
import sys
import time
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from pupil_proto.v1 import inference_pb2 as pb
from pupil_proto.v1 import models_pb2
from pupil_server.call import Call
from pupil_server.dispatch import Dispatcher
from pupil_server.errors import SettingsError
from pupil_server.method import Failure, Method
from pupil_server.metrics import Metrics
from pupil_server.server import Server
from pupil_server.settings import ServerSettings
from pupil_server.tracing import Tracing

PATIENCE = 20.0
PARENT = {"traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"}


def spans_of(handler, metadata: dict[str, str] | None = None) -> list[ReadableSpan]:
    """What one call of `handler` leaves in an exporter in memory."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    dispatcher = Dispatcher(Metrics(), max_calls=10, stream_idle=60.0, tracing=Tracing(provider))
    method = Method("test.Service", "Method", pb.ClassifyRequest, unary=handler)
    call = Call("test.Service/Method", time.monotonic() + 60, metadata=metadata or {}, id="abc-1")
    with contextlib.suppress(Failure):
        asyncio.run(dispatcher.unary(method, b"", call))
    return list(exporter.get_finished_spans())


async def answer(request: pb.ClassifyRequest, call: Call) -> pb.ClassifyResponse:
    now = time.monotonic()
    call.trace.step("decode", now - 0.5, now - 0.25, images=3)
    return pb.ClassifyResponse()


async def fail(request: pb.ClassifyRequest, call: Call) -> pb.ClassifyResponse:
    raise ValueError("ours")


def test_a_call_is_a_span_and_its_steps_are_spans_below_it_with_their_own_times() -> None:
    step, call = spans_of(answer)
    assert (call.name, step.name) == ("test.Service/Method", "decode")
    assert step.parent.span_id == call.context.span_id
    assert step.end_time - step.start_time == pytest.approx(0.25e9, rel=0.01)
    assert call.attributes["pupil.request_id"] == "abc-1"
    assert call.attributes["rpc.grpc.status_code"] == 0
    assert call.status.status_code == StatusCode.UNSET
    assert step.attributes["images"] == 3


def test_the_parent_is_the_callers_span_where_its_metadata_names_one() -> None:
    *_, call = spans_of(answer, PARENT)
    assert f"{call.context.trace_id:032x}" == "0123456789abcdef0123456789abcdef"
    assert f"{call.parent.span_id:016x}" == "0123456789abcdef"
    *_, call = spans_of(answer, {"traceparent": "rubbish"})
    assert call.parent is None


def test_a_failure_of_ours_is_an_error_in_the_trace() -> None:
    (call,) = spans_of(fail)
    assert call.status.status_code == StatusCode.ERROR
    assert call.attributes["rpc.grpc.status_code"] == 13


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """An OTLP collector that keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: list[object] = []
        self.services: set[str] = set()

    def Export(self, request, context):
        for resource in request.resource_spans:
            facts = {fact.key: fact.value.string_value for fact in resource.resource.attributes}
            self.services.add(facts["service.name"])
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()


def test_a_collector_is_sent_decode_queue_and_infer_below_the_call(start, connect, toolbox) -> None:
    collector = Collector()
    receiver = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, receiver)
    port = receiver.add_insecure_port("127.0.0.1:0")
    receiver.start()
    try:
        with start("--otlp-endpoint", f"http://127.0.0.1:{port}") as server:
            images = pb.Images(encoded=[toolbox.png(image) for image in toolbox.random_pixels(2, seed=0)])
            request = pb.ClassifyRequest(model=pb.ModelSpec(name="student"), images=images)
            connect(server.address).inference.Classify(request, timeout=PATIENCE, metadata=tuple(PARENT.items()))
            server.process.terminate()  # what is left is sent before the end
            assert server.process.wait(timeout=PATIENCE) == 0
    finally:
        receiver.stop(0).wait()
    spans = {span.name: span for span in collector.spans}
    call = spans["pupil.v1.Inference/Classify"]
    assert collector.services == {"pupil"}
    assert set(spans) == {call.name, "decode", "queue", "infer"}
    assert call.parent_span_id.hex() == "0123456789abcdef"
    assert {spans[name].parent_span_id for name in ("decode", "queue", "infer")} == {call.span_id}
    order = [spans[name] for name in ("decode", "queue", "infer")]
    assert [span.start_time_unix_nano for span in order] == sorted(span.start_time_unix_nano for span in order)
    assert all(span.end_time_unix_nano <= call.end_time_unix_nano for span in order)


def test_a_collector_that_is_gone_neither_disturbs_the_answers_nor_the_end(start, connect) -> None:
    with start("--otlp-endpoint", "http://127.0.0.1:1", "--drain-grace", "0.2") as server:
        connect(server.address).models.List(models_pb2.ListModelsRequest(), timeout=PATIENCE)
        server.process.terminate()
        assert server.process.wait(timeout=PATIENCE) == 0


@pytest.mark.parametrize(
    "endpoint", ["collector:4317", "grpc://collector:4317", "http://", "http://:4317", "http://a:b", "http://[::1"]
)
def test_an_endpoint_that_is_no_web_address_is_refused_before_the_start(tmp_path, endpoint: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Server(ServerSettings(repository=tmp_path, otlp_endpoint=endpoint))
    wanted = "http://HOST:4317 is wanted, https:// for a collector with TLS"
    assert str(refused.value) == f"--otlp-endpoint: {endpoint}; {wanted}"


def test_nothing_of_opentelemetry_is_loaded_where_no_traces_are_asked_for() -> None:
    code = "import sys, pupil_server.server; print([name for name in sys.modules if 'opentelemetry' in name])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
