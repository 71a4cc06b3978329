"""Minutes of a model's health: stored again as they grow, summed over processes and time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg

from forewarn.stores import model_health
from forewarn.stores.model_health import HealthMinute

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_minute_grows_and_minutes_add_up_over_processes(postgres_url: str) -> None:
    first = HealthMinute("m-1", "champion", "a", NOON, 3, 300, 100, 10, 1, 1, 0, 0.01, 0.05, "boom")
    grown = replace(first, batches=6, rows=600, abstained=200, opened=3, p99_seconds=0.09)
    other = replace(first, instance="b", minute=NOON + timedelta(minutes=1), errors=0, last_error="")
    elsewhere = replace(first, model_version="m-2")
    as_shadow = replace(first, role="shadow", dropped=7)
    with psycopg.connect(postgres_url) as connection:
        model_health.write(connection, [first, elsewhere, as_shadow])
        model_health.write(connection, [grown, other])
        all_of_it = model_health.read(connection, "m-1", NOON, NOON + timedelta(hours=1))
        assert (all_of_it.minutes, all_of_it.batches, all_of_it.rows, all_of_it.opened) == (2, 9, 900, 4)
        assert (all_of_it.errors, all_of_it.p99_seconds, all_of_it.last_error) == (1, 0.09, "boom")
        assert all_of_it.error_share == 1 / 9
        assert (all_of_it.abstained, all_of_it.alerts) == (300, 20)
        later = model_health.read(connection, "m-1", NOON + timedelta(minutes=1, seconds=30), NOON + timedelta(hours=1))
        assert (later.minutes, later.batches, later.last_error) == (1, 3, "")
        assert model_health.read(connection, "m-1", NOON, NOON + timedelta(hours=1), "shadow").dropped == 7
        nothing = model_health.read(connection, "m-3", NOON, NOON + timedelta(hours=1))
    assert (nothing.minutes, nothing.error_share, nothing.p99_seconds) == (0, 0.0, None)
