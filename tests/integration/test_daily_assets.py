"""Days of logs, spans and activity: from the archive to files, again after a failure, and what is made of them."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import psycopg
import pyarrow.parquet as pq
import pytest

from forewarn.stores.archive import SampleWriter
from forewarn.telemetry.samples import SampleBatch, Series
from monitor_assets.features.log_templates import log_templates
from monitor_assets.features.service_graph import service_graph
from monitor_assets.features.signal_windows import windows_of
from monitor_assets.history import History
from monitor_assets.ingestion.raw_events import durations_are_in_range, raw_activity, raw_logs, raw_traces
from monitor_assets.ingestion.raw_metrics import (
    UP_TO_DATE,
    raw_metrics,
    raw_metrics_are_of_their_day,
    raw_metrics_have_no_missing_days,
)
from monitor_assets.scope import TrainingScope

FIRST = datetime(2026, 3, 2, tzinfo=UTC)
ASSETS = [raw_logs, raw_traces, raw_activity, log_templates, service_graph, durations_are_in_range]
DAYS = [date(2026, 3, 2) + timedelta(days=n) for n in range(3)]
RANGE = {"dagster/asset_partition_range_start": "2026-03-02", "dagster/asset_partition_range_end": "2026-03-04"}


@pytest.fixture
def history(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[History]:
    """Three days of a namespace `web`, and lines of another that nobody may see."""
    monkeypatch.setenv("FOREWARN_HOME", str(tmp_path))
    monkeypatch.setenv("FOREWARN_POSTGRES_URL", postgres_url)
    with psycopg.connect(postgres_url) as connection:
        for n in range(3):
            noon = FIRST + timedelta(days=n, hours=12)
            for k in range(20):
                at = noon + timedelta(seconds=k)
                body = f'request {k} took {k * 3} ms,\n "quoted", with a comma' if k % 2 else f"connected to db-{k}"
                log = (at, "web/api", "ERROR" if k == 3 else "INFO", body)
                connection.execute("insert into log_records (time, entity, severity, body) values (%s,%s,%s,%s)", log)
                span = (at, bytes([n, k] * 8), b"\1" * 8, None, "web/api", "GET /", 0.2, False)
                child = (at, bytes([n, k] * 8), b"\2" * 8, b"\1" * 8, "web/db", "SELECT", 0.01 * k, k < 2)
                for one in (span, child):
                    connection.execute("insert into spans values (%s,%s,%s,%s,%s,%s,%s,%s)", one)
            connection.execute("insert into log_records values (%s, 'other/x', 'INFO', 'secret')", (noon,))
            connection.execute("insert into activity_events values (%s, 'web/api', 'checkout', null, 2)", (noon,))
    return History(tmp_path, "web")


def run(assets: list = ASSETS, tags: dict[str, str] = RANGE) -> dg.ExecuteInProcessResult:
    """Materialise the range of days in one run, as a backfill does."""
    resources = {"scope": TrainingScope(namespace="web")}
    return dg.materialize(assets, resources=resources, tags=tags, raise_on_error=False)


def test_each_day_becomes_a_file_with_what_was_sent(history: History) -> None:
    result = run()
    assert result.success
    logs = pq.read_table(history.event_file("raw_logs", DAYS[1]), partitioning=None)
    assert logs.num_rows == 20 and set(logs.column("entity").to_pylist()) == {"web/api"}
    assert logs.column("body")[1].as_py() == 'request 1 took 3 ms,\n "quoted", with a comma'
    assert logs.column("time")[1].as_py() == FIRST + timedelta(days=1, hours=12, seconds=1)
    (edge,) = pq.read_table(history.event_file("service_graph", DAYS[0]), partitioning=None).to_pylist()
    assert (edge["client"], edge["server"], edge["calls"], edge["errors"]) == ("web/api", "web/db", 20, 2)
    templates = pq.read_table(history.event_file("log_templates", DAYS[2]), partitioning=None).to_pylist()
    assert sorted(t["count"] for t in templates) == [1, 9, 10]
    assert sum(t["errors"] for t in templates) == 1
    assert all(e.passed for e in result.get_asset_check_evaluations())
    activity = pq.read_table(history.event_file("raw_activity", DAYS[0]), partitioning=None).to_pylist()
    assert [(row["action"], row["user_hash"], row["count"]) for row in activity] == [("checkout", None, 2)]


def test_a_day_that_fails_is_named_the_others_are_done_and_the_next_run_goes_on(history: History) -> None:
    blocked = history.event_file("raw_logs", DAYS[1]).parent
    blocked.parent.mkdir(parents=True)
    blocked.write_text("in the way")
    instance = dg.DagsterInstance.ephemeral()
    resources = {"scope": TrainingScope(namespace="web")}
    first = dg.materialize([raw_logs], resources=resources, tags=RANGE, raise_on_error=False, instance=instance)
    assert not first.success
    failure = first.failure_data_for_node("raw_logs")
    assert failure is not None and "1 of 3 days failed" in str(failure.error and failure.error.to_string())
    assert first.all_events and sum(e.event_type_value == "STEP_RESTARTED" for e in first.all_events) == 2
    told = instance.get_materialized_partitions(dg.AssetKey("raw_logs"))
    assert told == {"2026-03-02", "2026-03-04"}
    before = history.event_file("raw_logs", DAYS[0]).stat().st_mtime_ns
    blocked.unlink()
    second = dg.materialize([raw_logs], resources=resources, tags=RANGE, instance=instance)
    assert second.success
    assert instance.get_materialized_partitions(dg.AssetKey("raw_logs")) == {day.isoformat() for day in DAYS}
    assert history.event_file("raw_logs", DAYS[0]).stat().st_mtime_ns == before


def test_what_comes_late_is_taken_up_and_an_empty_archive_takes_nothing_away(
    history: History, postgres_url: str
) -> None:
    assert run([raw_logs]).success
    with psycopg.connect(postgres_url) as connection:
        late = FIRST + timedelta(hours=13)
        connection.execute("insert into log_records values (%s, 'web/api', 'INFO', 'late')", (late,))
        connection.execute("delete from log_records where time >= %s", (FIRST + timedelta(days=2),))
    assert run([raw_logs]).success
    rows = [pq.read_metadata(history.event_file("raw_logs", day)).num_rows for day in DAYS]
    assert rows == [21, 20, 20]


def test_templates_need_the_day_they_are_of(history: History) -> None:
    result = run([log_templates], {"dagster/partition": "2026-03-02"})
    failure = result.failure_data_for_node("log_templates")
    assert failure is not None and "materialise raw_logs of 2026-03-02 first" in str(failure.error)


def test_a_backfill_of_metrics_writes_its_days_and_a_training_all_of_them(history: History, postgres_url: str) -> None:
    series = (Series("web/api", "process.memory.usage"),)
    with psycopg.connect(postgres_url) as connection:
        for n in range(3):
            times = np.array([int((FIRST + timedelta(days=n, hours=h)).timestamp()) for h in (0, 23)]) * 10**9
            SampleWriter().write(connection, [SampleBatch(series, np.zeros(2, np.int32), times, np.ones(2))])
    instance = dg.DagsterInstance.ephemeral()
    resources = {"scope": TrainingScope(namespace="web")}
    two = {**RANGE, "dagster/asset_partition_range_end": "2026-03-03"}
    assets = [raw_metrics, raw_metrics_are_of_their_day, raw_metrics_have_no_missing_days]
    assert dg.materialize(assets, resources=resources, tags=two, instance=instance).success
    assert history.days_there() == DAYS[:2]
    asked = {"dagster/partition": "2026-03-02", UP_TO_DATE: "all of it"}  # as Dagster's page starts a training
    result = dg.materialize(assets, resources=resources, tags=asked, instance=instance)
    assert result.success and all(e.passed for e in result.get_asset_check_evaluations())
    assert history.days_there() == DAYS
    assert history.read_json("interval")[0] == FIRST.isoformat()
    assert instance.get_materialized_partitions(dg.AssetKey("raw_metrics")) == {day.isoformat() for day in DAYS}
    history.day_file(DAYS[1]).unlink()
    assert not raw_metrics_have_no_missing_days(TrainingScope(namespace="web")).passed
    with psycopg.connect(postgres_url) as connection:
        connection.execute("update metric_samples set value = 'infinity'")
    history.day_file(DAYS[2]).unlink()
    again = dg.materialize(assets, resources=resources, tags=asked, instance=instance, raise_on_error=False)
    checks = {e.check_name: e.passed for e in again.get_asset_check_evaluations()}
    assert not checks["raw_metrics_are_of_their_day"]


def test_windows_hold_series_that_the_archive_has_forgotten(history: History, postgres_url: str) -> None:
    old, new = Series("web/pod-1", "process.memory.usage"), Series("web/pod-2", "process.memory.usage")
    tags = {"dagster/partition": "2026-03-02", UP_TO_DATE: "all of it"}
    resources = {"scope": TrainingScope(namespace="web")}
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for n, series in enumerate((old, new)):
            times = np.array([int((FIRST + timedelta(days=n)).timestamp())]) * 10**9
            SampleWriter().write(connection, [SampleBatch((series,), np.zeros(1, np.int32), times, np.ones(1))])
        assert dg.materialize([raw_metrics], resources=resources, tags=tags).success
        connection.execute("delete from metric_samples where time < %s", (FIRST + timedelta(days=1),))
        connection.execute("delete from metric_series where entity = 'web/pod-1'")
    assert dg.materialize([raw_metrics], resources=resources, tags=tags).success
    assert windows_of(history, 60).series == [old, new]
