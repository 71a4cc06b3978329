"""What the collector sends, and to whom: nothing is made anew for each reading, and only a gateway gets the token."""

import http.server
import ssl
import threading
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from forewarn.config.settings import Settings
from forewarn.services.collector import export
from forewarn.services.collector.__main__ import export_of
from forewarn.services.collector.readings import Instrument, Reading

READING = Reading("system.memory.usage", 1.0, "By", Instrument.GAUGE)


class Door(http.server.BaseHTTPRequestHandler):
    """Takes everything, and notes path and token."""

    def do_POST(self) -> None:
        self.server.seen.append((self.path, self.headers["Authorization"]))  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


class DoorServer(http.server.ThreadingHTTPServer):
    """A server on loopback, and what it got."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Door)
        self.seen: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def door() -> Iterator[DoorServer]:
    server = DoorServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


elsewhere = door  # a second one


def test_an_entity_has_one_meter_however_often_it_is_sent(door: DoorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    class Counted(export.MeterProvider):
        """The SDK remembers each for good."""

        def __init__(self, *arguments: object, **named: object) -> None:
            made.append(self)
            super().__init__(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(export, "MeterProvider", Counted)
    sender = export.Export(f"{door.url}/v1/metrics", None, "host", ssl.create_default_context)
    for _ in range(3):
        assert sender.send({"local/a": [READING], "local/b": [READING]})
    assert len(made) == 2
    sender.close()


@pytest.mark.parametrize("named", [True, False], ids=["the gateway that is named", "the gateway of this machine"])
def test_the_receiver_of_our_spans_gets_neither_readings_nor_token(
    named: bool, door: DoorServer, elsewhere: DoorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"):
        monkeypatch.setenv(variable, elsewhere.url)
    settings = Settings(
        gateway_token=SecretStr("secret"),
        gateway_port=1 if named else door.server_port,
        collector_endpoint=f"{door.url}/" if named else None,
        _env_file=None,
    )
    sender = export_of(settings, "host")
    assert sender.send({"local/a": [READING]})
    sender.close()
    assert door.seen == [("/v1/metrics", "Bearer secret")]
    assert elsewhere.seen == []
