"""A span per attempt, as an OTLP collector receives it."""

import contextlib
import gzip
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from helpers import create, one, send
from processes import QCTL, environment, wait_until


def test_each_attempt_is_a_span_and_tells_no_secret(conn, dsn, endpoint):
    received: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append(
                (self.path, gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    collector = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    receiver = endpoint("--fail-rate", "0.3", "--failures", "500")
    create(conn, url=f"{receiver.url}?token=hunter2", retry_schedule_s=[1] * 20)
    send(conn, 20)
    env = environment(QCTL_DSN=dsn, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.server_address[1]}")
    with contextlib.ExitStack() as stack:
        stack.callback(collector.server_close)
        stack.callback(collector.shutdown)
        process = subprocess.Popen(
            [str(QCTL), "worker", "-q", "orders", "--traces"], env=env, stderr=subprocess.PIPE, text=True
        )
        stack.callback(process.kill)
        wait_until(lambda: one(conn, "select count(*) from pgmq.q_orders") == 0, 60)
        process.send_signal(signal.SIGTERM)
        _, talk = process.communicate(timeout=30)
    assert process.returncode == 0, talk
    spans = []
    for path, body in received:
        assert path == "/v1/traces"
        assert b"hunter2" not in body
        message = ExportTraceServiceRequest.FromString(body)
        for resource in message.resource_spans:
            names = {a.key: a.value.string_value for a in resource.resource.attributes}
            assert names["service.name"] == "qctl-worker"
            spans += [span for scope in resource.scope_spans for span in scope.spans]
    assert len(spans) == len(receiver.entries())
    statuses = [a.value.int_value for span in spans for a in span.attributes if a.key == "http.response.status_code"]
    assert statuses.count(200) == 20
    assert statuses.count(500) == len(spans) - 20 > 0
    assert {span.name for span in spans} == {"POST orders"}
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano for span in spans)
