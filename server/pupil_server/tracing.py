"""OpenTelemetry traces, where they are asked for: a span a call, below it decode, queue and infer."""

import os
import threading
import time
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pupil_server.call import Call
from pupil_server.errors import Code, SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

SEND_SECONDS = 2.0  # for the last spans, when the server ends


class Tracing:
    """Begins a trace for each call, as a part of the caller's own where its `traceparent` says so."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("pupil", version("pupil"))
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, call: Call) -> "CallTrace":
        from opentelemetry.trace import SpanKind

        service, _, method = call.method.partition("/")
        facts = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method, "pupil.request_id": call.id}
        parent = self._propagator.extract(call.metadata)
        span = self._tracer.start_span(call.method, parent, kind=SpanKind.SERVER, attributes=facts)
        return CallTrace(self._tracer, span)

    def close(self) -> None:
        """Sends what is left, for at most so long: a collector that is gone must not keep the server."""
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(SEND_SECONDS)


class CallTrace:
    """The trace of one call."""

    def __init__(self, tracer: "Tracer", span: "Span") -> None:
        self._tracer = tracer
        self._span = span

    def step(self, name: str, start: float, end: float, **facts: str | int | float) -> None:
        """One part of the work, told afterwards; its instants are on time.monotonic's clock."""
        from opentelemetry.trace import set_span_in_context

        offset = time.time_ns() - time.monotonic_ns()
        parent = set_span_in_context(self._span)
        span = self._tracer.start_span(name, parent, start_time=int(start * 1e9) + offset, attributes=facts)
        span.end(int(end * 1e9) + offset)

    def end(self, code: Code) -> None:
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("rpc.grpc.status_code", int(code))
        if code in (Code.INTERNAL, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):  # the server's, not the caller's mistake
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def tracing_to(endpoint: str) -> Tracing | None:
    """Traces that a collector gets over OTLP; None without an endpoint. Raises SettingsError.

    Nothing of OpenTelemetry is loaded before this is asked for; its OTEL_… variables hold: sampling, service name.
    """
    if not endpoint:
        return None
    if not _is_url(endpoint):
        raise SettingsError(
            f"--otlp-endpoint: {endpoint}; http://HOST:4317 is wanted, https:// for a collector with TLS"
        )
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise SettingsError(f"--otlp-endpoint needs {error.name}: pip install 'pupil[otel]'") from error
    os.environ.setdefault("OTEL_SERVICE_NAME", "pupil")
    provider = TracerProvider(resource=Resource.create(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
    return Tracing(provider)


def _is_url(endpoint: str) -> bool:
    """The exporter would take a bare HOST:4317 as well, for a collector with TLS."""
    try:
        url = urlsplit(endpoint)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # brackets that do not match, or a port that is no number
        return False
