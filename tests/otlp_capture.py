"""A real HTTP server that keeps the OTLP requests it gets and can be told to refuse some."""

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from forewarn.telemetry.otlp_logs import LogRecord, decode_logs
from forewarn.telemetry.otlp_metrics import decode_metrics
from forewarn.telemetry.otlp_traces import Span, decode_spans
from forewarn.telemetry.samples import SampleBatch, Series


class OtlpCapture:
    """What arrived. `answers` holds status and headers of the next answers; without any, 200."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: deque[tuple[int, dict[str, str], bytes]] = deque()
        self.url = ""

    def bodies(self, path: str) -> list[bytes]:
        """Bodies that came to a path, in order."""
        return [body for at, _, body in self.requests if at == path]

    def metrics(self) -> list[SampleBatch]:
        """Decoded metric messages."""
        return [decode_metrics(body) for body in self.bodies("/v1/metrics")]

    def samples(self) -> dict[Series, dict[int, float]]:
        """Value by time of each series; a sample that comes twice is an error."""
        found: dict[Series, dict[int, float]] = {}
        for batch in self.metrics():
            for i, time, value in zip(batch.index, batch.times, batch.values, strict=True):
                mine = found.setdefault(batch.series[i], {})
                assert int(time) not in mine, f"{batch.series[i].id} came twice at {time}"
                mine[int(time)] = float(value)
        return found

    def logs(self) -> list[LogRecord]:
        """Decoded log records."""
        return [record for body in self.bodies("/v1/logs") for record in decode_logs(body)]

    def spans(self) -> list[Span]:
        """Decoded spans."""
        return [span for body in self.bodies("/v1/traces") for span in decode_spans(body)]


@contextlib.contextmanager
def capture_otlp(port: int = 0) -> Iterator[OtlpCapture]:
    """Serve on loopback until the block ends."""
    capture = OtlpCapture()
    connections: list[socket.socket] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            connections.append(self.request)
            super().setup()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, answer = capture.answers.popleft() if capture.answers else (200, {}, b"")
            if status == 200:
                capture.requests.append((self.path, {k.title(): v for k, v in self.headers.items()}, body))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    capture.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield capture
    finally:
        server.shutdown()
        server.server_close()
        for connection in connections:  # a server that ends closes what its clients keep open
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
