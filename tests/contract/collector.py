"""
An OpenTelemetry Collector as an exporter sees it: it takes OTLP over HTTP and knows what it was sent.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """
    Listens on a free local port for as long as its `with` block runs.
    """

    def __init__(self):
        self.spans, self.metrics, self.logs = [], [], []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def variables(self):
        """What points OpenTelemetry's own exporters here."""
        return {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}",
        }

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, path, body):
        """
        Note the names in one request.
        """
        if path == "/v1/traces":
            resources = ExportTraceServiceRequest.FromString(body).resource_spans
            self.spans += [span.name for one in resources for scope in one.scope_spans for span in scope.spans]
        elif path == "/v1/metrics":
            resources = ExportMetricsServiceRequest.FromString(body).resource_metrics
            self.metrics += [
                metric.name for one in resources for scope in one.scope_metrics for metric in scope.metrics
            ]
        elif path == "/v1/logs":
            resources = ExportLogsServiceRequest.FromString(body).resource_logs
            self.logs += [log.event_name for one in resources for scope in one.scope_logs for log in scope.log_records]

    def _handler(self):
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                collector.take(self.path, self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args):
                """
                Say nothing.
                """

        return Handler
