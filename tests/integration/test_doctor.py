"""The doctor finds each of the usual mistakes on real servers, and says how it is mended."""

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from forewarn.config.settings import Settings
from forewarn.services.doctor.broker import examine_broker
from forewarn.services.doctor.database import examine_database
from forewarn.services.doctor.examine import examine
from forewarn.services.doctor.finding import Finding
from forewarn.services.doctor.host import examine_host
from forewarn.services.doctor.servers import examine_servers
from forewarn.stores.log import create_topics
from forewarn.stores.schema import create_tables


def settings_of(**values: Any) -> Settings:
    return Settings(**values, _env_file=None)


def of(findings: Iterator[Finding], check: str) -> list[Finding]:
    return [finding for finding in findings if finding.check == check]


@pytest.fixture
def database(postgres_server: str) -> Iterator[str]:
    """URL of an empty database."""
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("drop database if exists doctor with (force)")
        connection.execute("create database doctor")
    yield make_conninfo(postgres_server, dbname="doctor")


def test_names_that_are_no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("FOREWARN_STEP_SECOND=5\n# FOREWARN_NOTHING=1\n")
    (tmp_path / ".env").chmod(0o644)
    monkeypatch.setenv("FOREWARN_GATWAY_PORT", "1")
    found = list(examine_host(settings_of(home=tmp_path, bind_host="0.0.0.0")))
    told = {f.told.split()[0]: f.mend for f in found if f.check == "Settings"}
    assert told["FOREWARN_GATWAY_PORT"] == "did you mean FOREWARN_GATEWAY_PORT?"
    assert told["FOREWARN_STEP_SECOND"] == "did you mean FOREWARN_STEP_SECONDS?"
    assert [f.verdict for f in found if f.check == "Secrets"] == ["warning"]
    assert [f.verdict for f in found if f.check == "Exposure"] == ["wrong"]  # open to all, and no token


def test_a_port_that_another_process_has(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        (finding,) = [f for f in examine_host(settings_of(home=tmp_path, dashboard_port=port)) if str(port) in f.told]
    assert "FOREWARN_DASHBOARD_PORT" in finding.told


def test_the_broker(own_broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (missing,) = of(examine_broker(settings_of(kafka_bootstrap=own_broker)), "Topics")
    assert missing.verdict == "wrong" and "otlp_metrics" in missing.told
    create_topics(own_broker, 2)
    assert {f.verdict for f in examine_broker(settings_of(kafka_bootstrap=own_broker))} == {"ok"}
    nobody, topics = examine_broker(settings_of(kafka_bootstrap="127.0.0.1:1"))
    assert "FOREWARN_KAFKA_BOOTSTRAP" in nobody.mend and topics.verdict == "unknown"
    monkeypatch.setenv("FOREWARN_KAFKA_SECURITY_PROTOCOL", "SSL")
    wants_none = next(iter(examine_broker(settings_of(kafka_bootstrap=own_broker))))
    assert wants_none.verdict == "wrong"


def test_postgresql(database: str) -> None:
    def found(url: str) -> dict[str, Finding]:
        return {f.check: f for f in examine_database(settings_of(postgres_url=SecretStr(url)))}

    assert found(database)["Tables"].verdict == "wrong"
    create_tables(database)
    empty = found(database)
    assert (empty["PostgreSQL"].verdict, empty["Tables"].verdict, empty["Clock"].verdict) == ("ok", "ok", "ok")
    assert empty["Services"].verdict == "wrong"
    assert "nothing was archived" in empty["Telemetry"].told
    with psycopg.connect(database) as connection:
        connection.execute(
            "insert into metric_series (entity, name, signal, kind) values ('s', 'disk.usage', 'disk.usage', 'gauge')"
        )
    assert "no limit" in found(database)["Telemetry"].told
    with psycopg.connect(database) as connection:
        connection.execute(
            "insert into metric_series (entity, name, signal, kind) values ('s', 'disk.usage.limit', "
            "'disk.usage.limit', 'gauge')"
        )
        connection.execute("insert into watermarks values ('shop', now() + interval '1 day')")
    mended = found(database)
    assert mended["Telemetry"].verdict == "ok"
    assert "future" in mended["Event time"].told
    assert "knows no such" in found(make_conninfo(database, dbname="nowhere"))["PostgreSQL"].told
    assert "nobody answers" in found("postgresql://x@127.0.0.1:1/x")["PostgreSQL"].told


def test_something_else_listens_on_the_gateways_port() -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = list(examine_servers(settings_of(gateway_port=server.server_port, dagster_port=1)))
    server.shutdown()
    assert "is not Forewarn's gateway" in of(iter(found), "Gateway")[0].told
    assert "nobody answers" in of(iter(found), "Dagster")[0].told


def test_no_secret_is_told(tmp_path: Path) -> None:
    hidden = SecretStr("hidden-word")
    settings = settings_of(
        home=tmp_path, gateway_token=hidden, smtp_host="127.0.0.1", smtp_port=1, smtp_password=hidden,
        postgres_url=SecretStr("postgresql://x:hidden-word@127.0.0.1:1/x"), kafka_bootstrap="127.0.0.1:1",
        gateway_port=1, predictor_port=1, dashboard_port=1, dagster_port=1,
    )  # fmt: skip
    found = list(examine(settings))
    assert sum(f.verdict == "wrong" for f in found) >= 5
    assert "hidden-word" not in repr(found)
