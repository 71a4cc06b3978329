"""What the collector sends for hours: nothing is made anew for each reading."""

import http.server
import threading
from collections.abc import Iterator

import pytest

from forewarn.services.collector import export
from forewarn.services.collector.readings import Instrument, Reading


class Door(http.server.BaseHTTPRequestHandler):
    """Takes everything."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def door() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/metrics"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_entity_has_one_meter_however_often_it_is_sent(door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    class Counted(export.MeterProvider):
        """The SDK remembers each for good."""

        def __init__(self, *arguments: object, **named: object) -> None:
            made.append(self)
            super().__init__(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(export, "MeterProvider", Counted)
    sender = export.Export(door, None, "host")
    reading = Reading("system.memory.usage", 1.0, "By", Instrument.GAUGE)
    for _ in range(3):
        assert sender.send({"local/a": [reading], "local/b": [reading]})
    assert len(made) == 2
    sender.close()
