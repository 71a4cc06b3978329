"""The assets that watch: leftovers of the ledger are resolved, the budget moves the threshold, smoke is told."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import psycopg
import pytest

from forewarn.detection.false_alarm_budget import WEEK
from forewarn.risk.first_day import FirstDayScorer
from forewarn.risk.guard import GuardedScorer
from forewarn.risk.scorer import TrendScorer
from forewarn.stores import alarm_control
from forewarn.telemetry.samples import Series
from monitor_assets.evaluation.alarm_budget import alarm_budget, the_budget_can_be_kept
from monitor_assets.evaluation.ledger_resolution import every_passed_prediction_has_an_outcome, ledger_resolution
from monitor_assets.evaluation.smoke_test import run_smoke_test, smoke_test, the_detector_sees_smoke
from monitor_assets.history import History, SignalWindows
from monitor_assets.scope import TrainingScope

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def home(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A FOREWARN_HOME over an empty database."""
    monkeypatch.setenv("FOREWARN_HOME", str(tmp_path))
    monkeypatch.setenv("FOREWARN_POSTGRES_URL", postgres_url)
    return tmp_path


def told(connection: psycopg.Connection, entity: str, hours: float) -> str:
    """A risk told so many hours after noon, about the six hours after it."""
    at, risk = NOON + timedelta(hours=hours), str(uuid.uuid4())
    connection.execute(
        "insert into risks (risk_id, episode, revision, state, entity, signal, mode, predicted_at, expires_at,"
        " probability, p10_seconds, p50_seconds, p90_seconds, model_version, payload)"
        " values (%s, %s, 0, 'open', %s, 'memory', 'leak', %s, %s, 0.8, 1800, 3600, 7200, 'm', '{}')",
        (risk, str(uuid.uuid4()), entity, at, at + timedelta(hours=6)),
    )
    return risk


def clock(connection: psycopg.Connection, hours: float) -> None:
    """The event clock of `web`."""
    connection.execute(
        "insert into watermarks values ('web', %s) on conflict (namespace) do update set at = excluded.at",
        (NOON + timedelta(hours=hours),),
    )


def materialise(assets: list) -> dg.ExecuteInProcessResult:
    """Run assets and checks here."""
    resources = {"scope": TrainingScope(namespace="web")}
    return dg.materialize(assets, resources=resources, raise_on_error=False)


def test_what_nobody_resolved_gets_the_outcome_that_it_had(home: Path, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        false, hit, open_, just = (told(connection, "web/a", h) for h in (0, 1, 30, 18.5))
        failed = NOON + timedelta(hours=2)
        connection.execute(
            "insert into failures values ('web/b', 'memory', 'leak', %s, null, 1, 1, true, null)", (failed,)
        )
        connection.execute("update risks set entity = 'web/b' where risk_id = %s", (hit,))
        clock(connection, 25)
    assert not every_passed_prediction_has_an_outcome(TrainingScope(namespace="web")).passed
    result = materialise([ledger_resolution, every_passed_prediction_has_an_outcome])
    assert result.success and all(e.passed for e in result.get_asset_check_evaluations())
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute("select risk_id::text, outcome, lead_seconds, inside_80 from outcomes").fetchall()
    assert {row[0]: row[1:] for row in rows} == {false: ("expired", None, None), hit: ("hit", 3600.0, True)}
    assert {open_, just}.isdisjoint(row[0] for row in rows)  # the alerter has an hour of event time
    assert materialise([ledger_resolution]).asset_materializations_for_node("ledger_resolution")[0].metadata[
        "resolved now"
    ].value == 0  # fmt: skip


def test_false_pages_raise_the_threshold_that_is_served(home: Path, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("insert into metric_series (entity, name, signal, kind) values ('web/a', 'm', 'm', 'gauge')")
        clock(connection, 0)
    assert materialise([alarm_budget]).success  # notes the clocks
    with psycopg.connect(postgres_url) as connection:
        ids = [told(connection, "web/a", h) for h in range(5)]
        for risk, outcome in zip(ids, ("expired", "expired", "dismissed", "averted", "hit"), strict=True):
            connection.execute(
                "insert into outcomes select risk_id, episode, %s, expires_at from risks where risk_id = %s",
                (outcome, risk),
            )
        clock(connection, 84)
    result = materialise([alarm_budget, the_budget_can_be_kept])
    assert result.success and all(e.passed for e in result.get_asset_check_evaluations())
    with psycopg.connect(postgres_url) as connection:
        raised = alarm_control.current(connection).raised
        row = connection.execute("select false_pages, service_seconds from alarm_control order by 1 desc").fetchone()
    assert row == (3, WEEK / 2) and raised == pytest.approx(0.3 * 2.5)  # averted ones are neither
    assert GuardedScorer([TrendScorer()], print, print, raised).threshold > TrendScorer().threshold
    assert GuardedScorer([TrendScorer()], print, print).threshold == TrendScorer().threshold


def windows() -> SignalWindows:
    """Two healthy services over two days."""
    series = [Series(f"web/s{k}", name) for k in range(2) for name in ("process.memory.usage", "connection.count")]
    cells = np.random.default_rng(0).normal(0.4, 0.004, (4, 2880)).astype(np.float32)
    return SignalWindows(series, cells, np.ones_like(cells), int(NOON.timestamp()) // 900 * 900 * 10**9, 60.0)


def test_smoke_is_told_by_service_and_a_broken_model_is_noticed(home: Path, postgres_url: str) -> None:
    History(home, "web").write_series(windows().series)
    History(home, "web").write_windows(windows())
    result = materialise([smoke_test, the_detector_sees_smoke])
    assert result.success and all(e.passed for e in result.get_asset_check_evaluations())
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute(
            "select entity, kind, injected, detected, model_version from smoke_results"
        ).fetchall()
        (path,) = connection.execute("select path from reports where kind = 'smoke'").fetchone() or ("",)
    assert {row[0] for row in rows} == {"web/s0", "web/s1"} and {row[4] for row in rows} == {FirstDayScorer().version}
    assert "Would we have seen it here?" in (home / path).read_text() and "web/s1" in (home / path).read_text()
    too_shy = TrendScorer(version="broken", threshold=0.999999)
    _, verdict = run_smoke_test(postgres_url, "web", windows(), too_shy, seed=1)
    assert not verdict.works, verdict.reason
