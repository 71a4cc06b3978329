"""Maintenance windows, fix times and silences by label, on PostgreSQL."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from incident_records import at, risk

from forewarn.alerting.calendars import Maintenance
from forewarn.incidents.records import Incident
from forewarn.stores.feedback import Feedback, PostgresFeedback, Silence, new_id
from forewarn.stores.fix_times import read_fix_times
from forewarn.stores.incidents import PostgresIncidents
from forewarn.stores.silences import PostgresMaintenance

ID = "00000000-0000-4000-8000-000000000001"


def incident(version: int, state: str, minutes: float) -> Incident:
    one = risk(0)
    failed = at(10) if state != "predicted" else None
    return Incident(
        ID, version, state, "critical", "t", one.entity, one.signal, one.mode, [one.episode], at(0), at(minutes), None,
        failed, [], [], "s",
    )  # fmt: skip


def test_windows_come_back_as_they_were_until_they_are_called_off(postgres_url: str) -> None:
    window = Maintenance.read("backup", {"entity": ["shop/*", "!x"]}, "Europe/Berlin", "2026-01-04 01:00", "04:00",
                              None, "FREQ=WEEKLY;BYDAY=SU", "why")  # fmt: skip
    once = Maintenance.read("move", {"namespace": "shop"}, "UTC", "2026-05-01T10:00", None, timedelta(minutes=90), "")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        store = PostgresMaintenance(connection)
        first, second = store.add(window, "ada"), store.add(once, "bob")
        assert [(r.window_id, r.author, r.window) for r in store.windows()] == [
            (first, "ada", window),
            (second, "bob", once),
        ]
        now = datetime.now(UTC)
        assert store.end(first, now) and not store.end(first, now)
        assert [r.window for r in store.windows()] == [once]
        with pytest.raises(ValueError, match="everything"):
            store.add(Maintenance.read("all", {}, "UTC", "2026-05-01 10:00", "11:00", None, ""), "ada")


def test_fix_times_are_from_failure_to_the_first_resolution(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        store = PostgresIncidents(connection)
        for version, (state, minutes) in enumerate(
            [("predicted", 0), ("firing", 10), ("resolved", 55), ("resolved", 90)]
        ):
            store.put(incident(version + 1, state, minutes))
        assert read_fix_times(connection) == {"connection_exhaustion": [45 * 60.0]}


def test_the_last_answer_counts(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        store = PostgresFeedback(connection)
        for verdict in ("acknowledged", "confirmed"):
            store.add(Feedback(new_id(), ID, None, verdict, "", "ada"))
        assert store.latest([ID])[ID].verdict == "confirmed"
        silence = Silence(new_id(), {"label.team": "data", "entity": "shop/*"}, at(0), at(60), "work", "ada")
        store.add_silence(silence)
        assert store.silences(at(1)) == [silence]
