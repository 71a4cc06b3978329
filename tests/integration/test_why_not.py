"""`forewarn why-not` against a real database: each reason for silence is named, with its time."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from incident_records import POOL, risk
from typer.testing import CliRunner

from forewarn.alerting.messages import Message
from forewarn.alerting.silences import Silence
from forewarn.cli.app import app
from forewarn.incidents.records import Incident
from forewarn.risk.records import Abstained, FailureObserved, episode_of
from forewarn.stores.archive import PostgresMetricArchive
from forewarn.stores.audit import PostgresAudit
from forewarn.stores.feedback import PostgresFeedback
from forewarn.stores.incidents import PostgresIncidents
from forewarn.stores.ledger import PostgresLedger
from forewarn.stores.outbox import PostgresOutbox
from forewarn.telemetry.samples import Kind, SampleBatch, Series

NOW = datetime.now(UTC).replace(second=0, microsecond=0)


@pytest.fixture
def ask(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("FOREWARN_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("FOREWARN_HOME", str(tmp_path))

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["why-not", *arguments])
        return result.exit_code, result.output

    return run


@pytest.fixture
def database(postgres_url: str) -> Any:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        PostgresLedger(connection).set_watermark("shop", NOW)
        yield connection


def sample(url: str, entity: str, signal: str, at: datetime) -> None:
    series = (Series(entity, signal, (), Kind.GAUGE, "By"),)
    time = np.array([int(at.timestamp()) * 10**9])
    PostgresMetricArchive(url).append(SampleBatch(series, np.zeros(1, np.int32), time, np.ones(1)))


def kinds(output: str) -> dict[str, str]:
    return {reason["kind"]: reason["text"] for reason in json.loads(output)["reasons"]}


def test_an_unknown_entity_gets_near_names_and_status_1(ask: Any, database: Any, postgres_url: str) -> None:
    sample(postgres_url, "shop/checkout", "system.memory.usage", NOW)
    status, output = ask("shop/chekout")
    assert status == 1
    assert "did you mean shop/checkout?" in output


def test_no_limit_gap_and_abstentions_are_told_apart(ask: Any, database: Any, postgres_url: str) -> None:
    sample(postgres_url, "shop/db", "system.memory.usage", NOW - timedelta(hours=1))
    status, output = ask("shop/db")
    assert status == 0
    assert "Nothing was told of shop/db: it has sent nothing" in output
    assert f"its last sample came {NOW - timedelta(hours=1):%Y-%m-%d %H:%M} UTC, 60 min before" in output
    assert "send system.memory.usage.limit" in output
    sample(postgres_url, "shop/db", "system.memory.usage", NOW)
    sample(postgres_url, "shop/db", "system.memory.usage.limit", NOW)
    assert "all is calm" in ask("shop/db")[1]
    PostgresLedger(database).abstain(Abstained("shop/db", "system.memory.usage", "too little history", NOW))
    status, output = ask("shop/db")
    assert "some of its signals cannot be judged" in output
    assert f"of system.memory.usage nothing is said since {NOW:%Y-%m-%d %H:%M} UTC: too little history" in output


def test_what_was_predicted_held_silenced_and_decided(ask: Any, database: Any, postgres_url: str) -> None:
    sample(postgres_url, "shop/db", "db.client.connections.usage", NOW)
    made = risk(0)
    database.execute("delete from watermarks")
    PostgresLedger(database).set_watermark("shop", made.predicted_at)
    PostgresLedger(database).add_risk(made)
    incident = Incident(
        str(uuid.uuid4()), 1, "predicted", "critical", "the pool of shop/db fills up", "shop/db", POOL, made.mode,
        [made.episode], made.predicted_at, made.predicted_at, made.time_to_failure, None, [], [], "It fills up.",
    )  # fmt: skip
    PostgresIncidents(database).put(incident)
    held = Message(
        str(uuid.uuid4()), incident.incident_id, 1, "email", "opened", "held", held_for="silence",
        why="silenced by ann", due=NOW + timedelta(hours=1), created_at=NOW,
    )  # fmt: skip
    PostgresOutbox(database).put(held)
    silence = Silence(
        str(uuid.uuid4()), {"entity": "shop/*", "severity": "critical"}, NOW - timedelta(hours=1),
        NOW + timedelta(hours=1), "upgrade", "ann",
    )  # fmt: skip
    PostgresFeedback(database).add_silence(silence)
    PostgresAudit(database).write("alerter", "withhold 'opened' on email", incident.incident_id, "silence: by ann")
    status, output = ask("shop/db", "--json")
    found = kinds(output)
    assert status == 0
    assert json.loads(output)["verdict"] == "Nothing was told of shop/db: what was to be told of it is held back."
    assert "was predicted" in found["risk"]
    assert "88 %: open" in found["risk"]
    assert found["held"].startswith("'opened' on email is held (silence): silenced by ann, until")
    assert found["silence"].startswith("silenced (entity=shop/*, severity=critical) by ann until")
    assert found["decision"] == "alerter: withhold 'opened' on email: silence: by ann"
    early = f"{made.predicted_at - timedelta(hours=1):%Y-%m-%d %H:%M}"
    assert not {"risk", "incident", "decision"} & set(kinds(ask("shop/db", "--json", "--at", early)[1]))


def test_an_unpredicted_failure_under_another_incident_is_no_calm(ask: Any, database: Any, postgres_url: str) -> None:
    sample(postgres_url, "shop/api", "http.server.request.error_ratio", NOW)
    failed = FailureObserved("shop/api", "http.server.request.error_ratio", "error_rate_climb", NOW, 0.06, 0.05)
    episode = episode_of(failed.entity, failed.signal, failed.mode, NOW)
    PostgresLedger(database).add_failure(failed, episode, predicted=False)
    assert "it has failed, but that became no incident" in ask("shop/api")[1]
    incidents, its_id = PostgresIncidents(database), str(uuid.uuid4())
    incidents.put(Incident(
        its_id, 1, "firing", "critical", "the pool of shop/db is full", "shop/db", POOL, "connection_exhaustion",
        [episode], NOW, NOW, None, NOW, [], [], "It is full.",
    ))  # fmt: skip
    incidents.link(episode, its_id)
    PostgresAudit(database).write("alerter", "grouped", episode, "shop/api depends on shop/db")
    reasons, output = kinds(ask("shop/api", "--json")[1]), ask("shop/api")[1]
    assert "there is an incident about it, but no message was decided on" in output
    assert reasons["incident"] == "incident 'the pool of shop/db is full' is firing, severity critical"
    assert reasons["decision"] == "alerter: grouped: shop/api depends on shop/db"


def test_a_time_that_cannot_be_read_is_said(ask: Any, database: Any) -> None:
    from forewarn.cli.failure import CommandError

    result = CliRunner().invoke(app, ["why-not", "shop/db", "--at", "yesterdayish"])
    assert isinstance(result.exception, CommandError)
    assert "write it as" in str(result.exception)


def test_past_abstentions_are_known_with_their_begin(ask: Any, database: Any, postgres_url: str) -> None:
    ledger, signal = PostgresLedger(database), "system.memory.usage"
    for minutes, reason, code in [
        (90, "too little history: 3 h of 8 h", "short"), (80, "too little history: 4 h of 8 h", "short"),
        (60, "", ""), (30, "late data", "late_data"), (10, "", ""), (9, "", ""),
    ]:  # fmt: skip
        ledger.abstain(Abstained("shop/db", signal, reason, NOW - timedelta(minutes=minutes), code=code))
    sample(postgres_url, "shop/db", signal, NOW)

    def at(minutes: int) -> str | None:
        when = f"{NOW - timedelta(minutes=minutes):%Y-%m-%d %H:%M}"
        return kinds(ask("shop/db", "--json", "--at", when)[1]).get("abstains")

    begin = NOW - timedelta(minutes=90)
    assert at(70) == f"of {signal} nothing is said since {begin:%Y-%m-%d %H:%M} UTC: too little history: 3 h of 8 h"
    assert (at(100), at(50), at(5)) == (None, None, None)
    assert "late data" in str(at(20))
    assert database.execute("select count(*) from abstention_history").fetchone() == (4,)


def test_a_response_that_waits_or_was_withheld_is_told(ask: Any, database: Any, postgres_url: str) -> None:
    sample(postgres_url, "shop/db", "db.client.connections.usage", NOW)
    for name, status, held, outcome in [
        ("scale", "approved", "cooldown", ""), ("restart", "dry_run", None, "nothing was done: it is a dry run"),
    ]:  # fmt: skip
        database.execute(
            "insert into responses (response_id, response, kind, incident_id, entity, status, automatic, averts, plan,"
            " facts, why, expires_at, decided_by, held_for, held_why, outcome)"
            " values (gen_random_uuid(), %s, 'webhook', gen_random_uuid(), 'shop/db', %s, false, false, '{}', '{}', '',"
            " now(), 'mia', %s, 'it ran just now', %s)",
            (name, status, held, outcome),
        )
    _, output = ask("shop/db")
    assert "is approved by mia and is held (cooldown): it ran just now" in output
    assert "is dry run: nothing was done: it is a dry run" in output
