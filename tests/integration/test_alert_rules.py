"""Rules of a team's own against a real archive and alerter: fired once, ended once, taken up while it runs."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from alerter_stack import Stack, eventually, stack_on
from servers import free_port
from typer.testing import CliRunner

from forewarn.cli.app import app
from forewarn.stores.archive import PostgresMetricArchive
from forewarn.stores.ledger import PostgresLedger
from forewarn.stores.rollups import roll_up_due
from forewarn.telemetry.samples import Kind, SampleBatch, Series

DISK = "system.filesystem.usage"
RULE = """
rules:
  - name: disk of the shop
    when: value('system.filesystem.usage') / limit('system.filesystem.usage') > 0.8 for 2m
    keep_firing_for: 0s
    severity: critical
    labels: {team: storage}
    annotations: {summary: Clean the spool.}
"""
NOW = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=2)


def minute(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def fill(url: str, start: int, *values: float) -> None:
    """The disk of shop/db minute by minute, with its limit of 100; the event clock at the end."""
    series = tuple(Series("shop/db", name, (), Kind.GAUGE, "By") for name in (DISK, f"{DISK}.limit"))
    times = [int(minute(start + i).timestamp()) * 10**9 for i in range(len(values))]
    index = np.repeat(np.array([0, 1], np.int32), len(values))
    known = np.concatenate([values, np.full(len(values), 100.0)])
    PostgresMetricArchive(url).append(SampleBatch(series, index, np.array(times * 2), known))
    with psycopg.connect(url, autocommit=True) as db:
        PostgresLedger(db).set_watermark("shop", minute(start + len(values) - 1))


@pytest.fixture
def database(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def stack(own_broker: str, postgres_url: str, tmp_path: Path) -> Iterator[Stack]:
    stack = stack_on(own_broker, postgres_url, free_port(), tmp_path, rules=tmp_path / "rules.yaml", rules_seconds=0.2)
    stack.inbox.start()
    yield stack
    stack.inbox.stop()


def told(database: psycopg.Connection[Any]) -> list[str]:
    rows = database.execute("select reason from outbox where status = 'sent' and channel = 'email' order by sent_at")
    return [reason for (reason,) in rows]


def actions(database: psycopg.Connection[Any]) -> list[str]:
    rows = database.execute("select action from audit where actor = 'rules' order by audit_id").fetchall()
    return [action for (action,) in rows]


def test_a_rule_is_taken_up_fires_once_survives_a_kill_and_ends_once(
    stack: Stack, database: psycopg.Connection[Any], postgres_url: str
) -> None:
    assert stack.settings.rules is not None
    fill(postgres_url, 0, 70, 85, 86)
    with stack.process():
        eventually(
            lambda: database.execute("select 1 from pg_stat_activity where application_name = 'rules'").fetchone()
        )
        stack.settings.rules.write_text(RULE.replace("value(", "valeu("))
        eventually(lambda: actions(database) == ["keep the old rules"])
        stack.settings.rules.write_text(RULE)
        eventually(lambda: database.execute("select 1 from rule_states where incident_id is null").fetchone())
        fill(postgres_url, 3, 87, 88)
        eventually(lambda: told(database) == ["failed"])
        fill(postgres_url, 5, 90, 91)
        eventually(lambda: database.execute("select 1 from rule_states where last_true >= %s", (minute(6),)).fetchone())
    with stack.alerter():
        eventually(lambda: actions(database)[-1] == "take up the rules" and len(actions(database)) == 4)
        fill(postgres_url, 7, 92, 60)
        eventually(lambda: told(database) == ["failed", "resolved"])
    assert [a for a in actions(database) if a in ("fired", "ended")] == ["fired", "ended"]
    assert database.execute("select count(*) from rule_states").fetchone() == (0,)
    first, last = stack.inbox.mails
    assert "disk of the shop: shop/db" in first["Subject"]
    body = first.get_body(("plain",))
    assert body is not None
    assert "Rule fired" in body.get_content()
    assert "system.filesystem.usage is 88" in body.get_content()
    assert "Clean the spool." in body.get_content()
    assert last["In-Reply-To"] == first["Message-ID"]
    state = database.execute("select state, mode, payload->'labels'->>'team' from incidents").fetchone()
    assert state == ("resolved", "rule", "storage")


def test_history_says_when_a_rule_would_have_fired_and_beside_what(
    database: psycopg.Connection[Any], postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(postgres_url, 0, *np.concatenate([np.full(20, 50.0), np.linspace(60, 99, 30), np.full(20, 40.0)]))
    database.execute(
        "insert into failures values ('shop/db', %s, 'disk_full', %s, %s, 100, 100, false, null)",
        (DISK, minute(49), minute(51)),
    )
    with psycopg.connect(postgres_url) as connection:
        roll_up_due(connection, quiet=timedelta(0))
    (tmp_path / "rules.yaml").write_text(RULE.replace("for 2m", "for 5m"))
    monkeypatch.setenv("FOREWARN_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("FOREWARN_HOME", str(tmp_path))
    result = CliRunner().invoke(app, ["rules", "test", str(tmp_path / "rules.yaml"), "--since", "3h"])
    assert result.exit_code == 0, result.output
    assert "would have fired 1 time," in result.output
    assert "system.filesystem.usage (disk_full) failed" in result.output
    assert "of 1 failures of these entities it fired within the day before or during 1" in result.output
