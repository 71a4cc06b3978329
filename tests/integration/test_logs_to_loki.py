"""Logs to a server that speaks Loki's push API, through the real archiver: none lost while it is away or refuses."""

import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest
from integration.processes import service, wait_until
from servers import free_port, running_broker

from forewarn.stores.log import create_topics, producer
from forewarn.stores.loki import LokiBusyError, LokiLogs, LokiRefusedError
from forewarn.telemetry import topics
from forewarn.telemetry.otlp_encode import encode_logs
from forewarn.telemetry.otlp_logs import LogRecord

NOON = 1_767_614_400_000_000_000


class Loki(ThreadingHTTPServer):
    """Keeps what is pushed, equal lines of a stream and time once; refuses a line that says 'too old'."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Push)
        self.lines: dict[tuple[tuple[str, str], ...], dict[tuple[str, str], dict[str, str]]] = {}
        self.pushes, self.busy = 0, 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def texts(self) -> list[str]:
        return sorted(line for stream in self.lines.values() for _, line in stream)


class _Push(BaseHTTPRequestHandler):
    server: Loki

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.pushes += 1
        if self.server.busy:
            self.server.busy -= 1
            return self._answer(429)
        if self.path != "/loki/api/v1/push" or self.headers["x-scope-orgid"] != "acme":
            return self._answer(404)
        refused = False
        for stream in json.loads(gzip.decompress(body))["streams"]:
            kept = self.server.lines.setdefault(tuple(sorted(stream["stream"].items())), {})
            for time, line, metadata in stream["values"]:
                refused |= "too old" in line
                if "too old" not in line:
                    kept[time, line] = metadata
        return self._answer(400 if refused else 204)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def running(port: int = 0) -> Iterator[Loki]:
    loki = Loki(port)
    thread = threading.Thread(target=loki.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield loki
    finally:
        loki.shutdown()
        thread.join()
        loki.server_close()


def record(number: int, severity: str = "INFO", entity: str = "shop/api", **attributes: str) -> LogRecord:
    return LogRecord(NOON + number, entity, severity, f"line {number}", attributes)


def test_labels_are_few_and_a_repetition_changes_nothing() -> None:
    with running() as loki:
        logs = LokiLogs(loki.url, tenant="acme")
        records = [record(k, ("INFO", "Error", "", "odd")[k % 4], user=str(k)) for k in range(12_000)]
        logs.push(records)
        assert loki.pushes == 3
        logs.push(records)
        logs.close()
        levels = {dict(stream)["level"] for stream in loki.lines}
        assert levels == {"info", "error", "unknown"}
        assert {tuple(name for name, _ in stream) for stream in loki.lines} == {("entity", "level", "namespace")}
        assert len(loki.texts) == 12_000
        kept = loki.lines[("entity", "shop/api"), ("level", "error"), ("namespace", "shop")]
        assert kept[str(NOON + 1), "line 1"] == {"user": "1", "entity_name": "shop/api"}


def test_who_cannot_take_it_now_and_who_never_will() -> None:
    with running() as loki:
        logs = LokiLogs(loki.url, tenant="acme")
        loki.busy = 1
        with pytest.raises(LokiBusyError, match="429"):
            logs.push([record(1)])
        with pytest.raises(LokiRefusedError, match="400"):
            logs.push([LogRecord(NOON, "a", "", "too old")])
    with pytest.raises(LokiBusyError, match="no Loki answers"):
        logs.push([record(1)])


def test_no_line_is_lost_while_loki_is_away(postgres_url: str) -> None:
    port = free_port()
    with running_broker(free_port()) as broker:
        create_topics(broker, 4)
        send = producer(broker)
        for k in range(40):
            bodies = ["deployed api 2.14.0" if k == 7 else f"line {k}"]
            bodies = ["too old"] if k == 20 else bodies
            kinds = [{"event.name": "deployment"}] if k == 7 else None
            send.produce(
                topics.LOGS, key="shop/api", value=encode_logs("shop/api", [NOON + k], ["INFO"], bodies, kinds)
            )
        send.flush(10)
        expected = sorted(["deployed api 2.14.0", *(f"line {k}" for k in range(40) if k not in (7, 20))])
        environment = {"loki_url": f"http://127.0.0.1:{port}", "loki_tenant": "acme"}
        with (
            service("forewarn.services.archiver", kafka_bootstrap=broker, postgres_url=postgres_url, **environment),
            psycopg.connect(postgres_url, autocommit=True) as connection,
        ):

            def one(query: str) -> object:
                return (connection.execute(query.encode()).fetchone() or (None,))[0]

            wait_until(lambda: one("select count(*) from service_status"), 40, "the archiver")
            assert one("select count(*) from consumer_offsets") == 0, "nothing is done before Loki has it"
            with running(port) as loki:
                loki.busy = 1
                wait_until(lambda: one("select sum(next_offset) from consumer_offsets") == 40, 60, "all offsets")
                assert loki.texts == expected
            assert one("select string_agg(body, ',') from log_records") == "deployed api 2.14.0"
            counters = "select (counters->>'dead_letters_total')::float from service_status"
            wait_until(lambda: one(counters) == 1, 30, "the dead letter")
