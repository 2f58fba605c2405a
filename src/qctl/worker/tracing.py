"""OpenTelemetry: a span for each attempt, sent as the OTEL_ variables say. The extra ``otel``.

Attributes follow the semantic conventions for HTTP clients and for messaging; of the URL only scheme, host and port are told,
for paths and queries hold secrets.
"""

import time
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from qctl.worker.request import Answer


class Tracer:
    """Makes the spans; a thread of its own sends them, and one that cannot be sent holds up nothing."""

    def __init__(self) -> None:
        named = OTELResourceDetector().detect()
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "qctl-worker"}).merge(named))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("qctl")

    def __call__(self, answer: Answer) -> None:
        """A span that ends now and began when the request did."""
        message, ended = answer.request.message, time.time_ns()
        url = urlsplit(message.url)
        span = self._tracer.start_span(
            f"POST {answer.request.queue}",
            kind=SpanKind.CLIENT,
            start_time=ended - (answer.duration_ms or 0) * 1_000_000,
            attributes={
                "http.request.method": "POST",
                "url.scheme": url.scheme,
                "server.address": url.hostname or "",
                "server.port": url.port or (443 if url.scheme == "https" else 80),
                "http.request.body.size": answer.request.size,
                "messaging.system": "qctl",
                "messaging.operation.type": "process",
                "messaging.destination.name": answer.request.queue,
                "messaging.message.id": f"{answer.request.queue}/{message.msg_id}",
                "qctl.delivery_no": message.delivery_no,
                "qctl.attempt_no": message.attempt_no,
            },
        )
        if answer.status is not None:
            span.set_attribute("http.response.status_code", answer.status)
        if answer.status is None or not 200 <= answer.status < 300:
            reason = str(answer.status) if answer.status is not None else "no_answer"
            span.set_attribute("error.type", reason)
            span.set_status(Status(StatusCode.ERROR, answer.error if answer.status is None else None))
        span.end(end_time=ended)

    def close(self) -> None:
        """Sends what is left."""
        self._provider.shutdown()
