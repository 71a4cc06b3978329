"""No table grows for ever: each has a bound, and what is older goes."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from table_rows import count_all, fill_all, table_names

from forewarn.config.settings import Settings
from forewarn.services.archiver.tending import Tending
from forewarn.stores.record_retention import BOUNDS, HEALTH, RECORDS, ROLLUPS, SAMPLES

NOW = datetime.now(UTC)
OLD = {"state": "resolved", "stage": "retired", "status": "sent", "path": "reports/old.html", "expires_at": NOW}
GO = {SAMPLES, ROLLUPS, RECORDS, HEALTH, "30 days"}
DOCS = Path(__file__).parents[2] / "docs" / "data-formats.md"


def settings(url: str, home: Path) -> Settings:
    return Settings(
        postgres_url=url, home=home, retention_days=30, rollup_retention_days=400, record_retention_days=1000
    )


def test_every_table_has_a_bound_and_the_documentation_says_which(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        assert table_names(connection) | {"schema_revision"} == set(BOUNDS), "name its bound in BOUNDS and in the docs"
    listed = DOCS.read_text().split("## What is kept")[1].split("\n## ")[0]
    told = {
        table: row for row in listed.splitlines() if row.startswith("|") for table in re.findall(r"`([a-z_0-9]+)`", row)
    }
    missing = set(BOUNDS) - set(told)
    assert not missing, f"docs/data-formats.md, What is kept: {missing}"
    wrong = [t for t, bound in BOUNDS.items() if bound.endswith("_days") and f"FOREWARN_{bound.upper()}" not in told[t]]
    assert not wrong


def test_what_is_old_goes_and_its_report_with_it(postgres_url: str, tmp_path: Path) -> None:
    report = tmp_path / "reports" / "old.html"
    report.parent.mkdir()
    report.write_text("old")
    with psycopg.connect(postgres_url) as connection:
        # the newest change of the threshold holds, however old
        connection.execute(
            "insert into alarm_control (at, raised, false_pages, service_seconds, services, clocks, reason)"
            " select '2001-01-01', 0, 0, 0, 0, '{}', 'before'"
        )
        filled = fill_all(connection, datetime(2001, 1, 1, tzinfo=UTC), **OLD)
        connection.execute("delete from rollup_pending")  # what waits to be rolled up is not dropped
    with psycopg.connect(postgres_url) as connection:
        assert set(count_all(connection)) == filled
    tending = Tending(settings(postgres_url, tmp_path), {})
    assert tending.tend_once()
    with psycopg.connect(postgres_url) as connection:
        left = {table for table, count in count_all(connection).items() if count}
        assert left & {table for table, bound in BOUNDS.items() if bound in GO} == {"alarm_control"}
        assert connection.execute("select reason from alarm_control").fetchall() == [("shop/api",)]
        assert left - {"alarm_control"} == {t for t, bound in BOUNDS.items() if bound not in GO} - {
            "schema_revision", "rollup_pending",
        }  # fmt: skip
    assert not report.exists()


def test_what_is_young_or_goes_on_stays(postgres_url: str, tmp_path: Path) -> None:
    with psycopg.connect(postgres_url) as connection:
        fill_all(connection, NOW, **OLD)
        before = count_all(connection)
    Tending(settings(postgres_url, tmp_path), {}).tend_once()
    with psycopg.connect(postgres_url) as connection:
        after = count_all(connection)
    assert {t for t, n in before.items() if after[t] < n} <= {"rollup_pending"}


def test_an_incident_that_is_open_stays_with_all_that_belongs_to_it(postgres_url: str, tmp_path: Path) -> None:
    with psycopg.connect(postgres_url) as connection:
        fill_all(connection, NOW - timedelta(days=1100), **{**OLD, "state": "firing"})
    Tending(settings(postgres_url, tmp_path), {}).tend_once()
    with psycopg.connect(postgres_url) as connection:
        left = count_all(connection)
    kept = ("incidents", "incident_history", "incident_causes", "incident_episodes", "outbox", "responses")
    assert [left[table] for table in kept] == [1] * len(kept)
    assert left["risks"] == left["outcomes"] == 0


def test_a_replay_of_long_ago_is_as_old_as_its_own_clock_says(postgres_url: str, tmp_path: Path) -> None:
    clock = datetime(2022, 3, 1, tzinfo=UTC)
    with psycopg.connect(postgres_url) as connection:
        connection.execute("insert into watermarks values ('shop', %s)", (clock,))
        for client, days in (("shop/new", 399), ("shop/old", 401), ("live/old", 401)):
            connection.execute(
                "insert into service_edges values (%s, 's', 1, 0, %s)", (client, clock - timedelta(days))
            )
    Tending(settings(postgres_url, tmp_path), {}).tend_once()
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("select client from service_edges").fetchall() == [("shop/new",)]


def test_a_series_that_comes_back_is_not_forgotten_while_it_is_written(postgres_url: str, tmp_path: Path) -> None:
    from forewarn.stores.metric_series import SeriesNumbers
    from forewarn.stores.record_retention import delete_unused
    from forewarn.telemetry.samples import Kind, Series

    back, gone = (Series("shop/api", name, (), Kind.GAUGE, "") for name in ("back", "gone"))
    with psycopg.connect(postgres_url) as connection:
        SeriesNumbers().of(connection, (back, gone))
        connection.execute("update metric_series set seen_on = current_date - 30")
        connection.commit()
        numbers = SeriesNumbers().of(connection, (back,))  # a writer asks for it, its first sample is not stored yet
        assert delete_unused(connection) == 1
        assert connection.execute("select series_id from metric_series").fetchall() == [(int(numbers[0]),)]
