"""An incident names the entity whose limit it is about; the archive is asked where it began, and says so afterwards."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from alerter_stack import Stack, eventually, stack_on
from incident_records import ERRORS, T0, at, clock, failure, recovery, risk
from servers import free_port

from forewarn.config.settings import Settings
from forewarn.incidents.causes.ranking import Suspect
from forewarn.incidents.records import Incident
from forewarn.services.alerter.causes import CauseFinder, beginning, nearest, verdict
from forewarn.stores.archive import PostgresMetricArchive
from forewarn.stores.event_rows import Calls, add_edges, copy_logs, copy_spans
from forewarn.stores.incident_causes import LocatedCauses, PostgresIncidentCauses
from forewarn.stores.incidents import PostgresIncidents
from forewarn.stores.observed import Stretch, _thinned, read_metrics, read_spans
from forewarn.stores.views.causes import causes_view
from forewarn.telemetry.otlp_logs import LogRecord
from forewarn.telemetry.otlp_traces import Span, SpanKind
from forewarn.telemetry.samples import Kind, SampleBatch, Series

SECOND = 10**9
EDGES = [("shop/web", "shop/api"), ("shop/api", "shop/db")]
FAILED = 118.0  # minutes after T0; the database is slow from 3 min before


@pytest.fixture
def database(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        with connection.transaction():
            add_edges(connection, {edge: Calls(9, 0, int(T0.timestamp()) * SECOND) for edge in EDGES})
        yield connection


def archive(url: str, slow: str = "shop/db", minutes: int = 119) -> None:
    """Requests web → api → db every two seconds; `slow` takes 40 times as long at last, is busy and complains."""
    begin, change = int(T0.timestamp()), int(at(FAILED - 3).timestamp())
    spans, logs, rng = [], [], np.random.default_rng(0)
    for trace, now in enumerate(range(begin, begin + 60 * minutes, 2)):
        own = {e: 0.01 + 0.002 * rng.random() for e in ("shop/db", "shop/api", "shop/web")}
        if now >= change:
            own[slow] = 0.4
        spans += _request(trace, now, own)
        if now % 60 == 0 or now >= change:
            logs.append(LogRecord(now * SECOND, slow, "ERROR", f"query {trace} timed out", {}))
    with psycopg.connect(url) as connection:
        copy_spans(connection, spans)
        copy_logs(connection, logs)
    _metrics(url, slow, np.arange(begin, begin + 60 * minutes, 60), change)


def _request(trace: int, now: int, own: dict[str, float]) -> list[Span]:
    """A server span at each service and a client span before each call; the caller waits for the called."""
    spans, total, parent_of = [], 0.0, b""
    chain, seconds = ["shop/web", "shop/api", "shop/db"], {}
    for entity in reversed(chain):
        total += own[entity]
        seconds[entity] = total
    start, trace_id = now * SECOND, trace.to_bytes(16, "big")
    for depth, entity in enumerate(chain):
        server, client = (trace * 8 + 2 * depth + k + 1 for k in (0, 1))
        spans.append(_span(trace_id, server, parent_of, entity, "handle", start, seconds[entity]))
        if depth + 1 < len(chain):
            start += int(own[entity] * SECOND / 2)
            spans.append(
                _span(trace_id, client, server.to_bytes(8, "big"), entity, "call", start, seconds[chain[depth + 1]])
            )
            parent_of = client.to_bytes(8, "big")
    return spans


def _span(trace: bytes, number: int, parent: bytes, entity: str, what: str, start: int, seconds: float) -> Span:
    kind = SpanKind.SERVER if what == "handle" else SpanKind.CLIENT
    return Span(trace, number.to_bytes(8, "big"), parent, entity, kind, what, start, seconds, False)


def _metrics(url: str, slow: str, times: np.ndarray, change: int) -> None:
    """CPU seconds (a counter) and the connection pool with its limit."""
    cpu = Series(slow, "process.cpu.time", kind=Kind.CUMULATIVE, unit="s")
    pool, limit = (Series("shop/db", f"db.client.connections.{name}") for name in ("usage", "usage.limit"))
    busy = np.cumsum(np.where(times >= change, 55.0, 6.0 + np.sin(times)))
    used = np.where(times >= change, 95.0, 30.0 + np.sin(times / 60))
    values = np.stack([busy, used, np.full(len(times), 100.0)], 1).ravel()
    index = np.tile(np.arange(3, dtype=np.int32), len(times))
    PostgresMetricArchive(url).append(SampleBatch((cpu, pool, limit), index, np.repeat(times * SECOND, 3), values))


@pytest.fixture
def stack(own_broker: str, postgres_url: str, tmp_path: Path) -> Iterator[Stack]:
    stack = stack_on(own_broker, postgres_url, free_port(), tmp_path)
    stack.inbox.start()
    yield stack
    stack.inbox.stop()


def located(database: psycopg.Connection[Any], about: str) -> LocatedCauses | None:
    row = database.execute("select incident_id::text from incidents order by opened_at limit 1").fetchone()
    found = PostgresIncidentCauses(database).of(row[0]) if row else []
    return next((c for c in found if c.about == about), None)


def test_an_incident_of_the_stream_learns_where_it_began(
    stack: Stack, database: psycopg.Connection[Any], postgres_url: str
) -> None:
    archive(postgres_url)
    with stack.alerter():
        stack.send(failure(FAILED, "shop/web", ERRORS), clock(FAILED + 2))
        causes = eventually(lambda: located(database, "failure"), 120)
        told = len(stack.inbox.mails)
        stack.send(recovery(FAILED + 9, "shop/web", ERRORS), clock(FAILED + 10))
        eventually(lambda: len(stack.inbox.mails) > told, 120)
    text = " ".join(stack.inbox.mails[-1].get_body(("plain",)).get_content().split())
    assert "telemetry around it points to shop/db rather than shop/web" in text
    assert causes.relation == "other"
    assert causes.suspects[0].entity == "shop/db"
    assert causes.sentence.startswith("Not proven: telemetry around it points to shop/db rather than shop/web (")
    first = causes.suspects[0]
    assert len(first.queries) == len(first.reasons) and all(first.queries)
    assert any(any(c.isdigit() for c in reason) for reason in first.reasons)
    view = causes_view(database, causes.incident_id)
    assert [c.about for c in view] == ["failure"] and view[0].suspects[0].entity == "shop/db"


def incident_of(database: psycopg.Connection[Any], state: str, minutes: float) -> Incident:
    """An incident about the users' side, as the alerter stores it."""
    prediction = risk(minutes, "shop/web", ERRORS)
    incident = Incident(
        "00000000-0000-4000-8000-000000000001", 1, state, "critical", "t", "shop/web", ERRORS, "error_rate_climb",
        [prediction.episode], at(minutes), at(minutes), None, at(minutes) if state == "firing" else None, [], [], "s",
    )  # fmt: skip
    with database.transaction():
        PostgresIncidents(database).put(incident)
    return incident


def test_nothing_unusual_is_an_answer_and_is_not_asked_again(
    database: psycopg.Connection[Any], postgres_url: str
) -> None:
    incident_of(database, "predicted", 0)
    database.execute("insert into watermarks values ('shop', %s)", (at(1),))
    assert CauseFinder(postgres_url, Settings(), lambda _: None).look(database) == 1
    causes = located(database, "prediction")
    assert causes and (causes.relation, causes.sentence, causes.suspects) == ("none", "", [])
    assert PostgresIncidentCauses(database).pending(0.0) == []


def test_what_is_on_its_way_is_waited_for_and_a_second_look_changes_nothing(
    database: psycopg.Connection[Any], postgres_url: str
) -> None:
    archive(postgres_url)
    incident_of(database, "firing", FAILED)
    finder = CauseFinder(postgres_url, Settings(), lambda _: None)
    assert finder.look(database) == 0  # the event clock has not passed what is to be looked at
    database.execute("insert into watermarks values ('shop', %s)", (at(FAILED + 5),))
    assert finder.look(database) == 1
    before = located(database, "failure")
    assert before is not None and before.suspects[0].entity == "shop/db"
    assert finder.look(database) == 0
    assert located(database, "failure") == before


def test_the_first_message_goes_first(database: psycopg.Connection[Any]) -> None:
    incident = incident_of(database, "firing", FAILED)
    message = b"insert into outbox (message_id, incident_id, version, channel, reason) values (%s, %s, 1, 'x', 'y')"
    database.execute(message, (uuid.uuid4(), incident.incident_id))
    assert PostgresIncidentCauses(database).pending(30.0) == []
    assert len(PostgresIncidentCauses(database).pending(0.0)) == 1  # it waits, but not for ever
    database.execute("update outbox set status = 'sent'")
    assert len(PostgresIncidentCauses(database).pending(30.0)) == 1


def test_an_incident_of_long_ago_is_left_alone(database: psycopg.Connection[Any]) -> None:
    incident_of(database, "firing", FAILED)
    database.execute("insert into watermarks values ('shop', %s)", (at(FAILED + 120),))
    assert PostgresIncidentCauses(database).pending(0.0) == []


def test_too_many_spans_are_thinned_to_whole_traces(database: psycopg.Connection[Any], postgres_url: str) -> None:
    archive(postgres_url)
    stretch = Stretch(at(0), at(FAILED + 1), 60.0)
    parameters = _thinned(database, "spans", ["shop/web", "shop/api", "shop/db"], stretch, 5_000)
    assert 0 < parameters[3] < 256
    spans = read_spans(database, ["shop/web", "shop/api", "shop/db"], stretch)
    kept = np.array([int(t, 16) & 255 for t in spans.trace_ids]) < parameters[3]
    assert 2_500 < kept.sum() < 6_000  # evenly, by trace: five spans each
    assert set(np.unique(spans.trace_ids[kept], return_counts=True)[1]) == {5}


def test_counters_are_read_as_rates(database: psycopg.Connection[Any], postgres_url: str) -> None:
    archive(postgres_url)
    batch = read_metrics(database, ["shop/db"], Stretch(at(0), at(FAILED + 1), 60.0))
    names = [s.signal for s in batch.series]
    cpu = batch.values[batch.index == names.index("process.cpu.time")]
    assert 0.05 < np.median(cpu) < 0.15 and cpu[-1] == pytest.approx(55 / 60)
    assert batch.values[batch.index == names.index("db.client.connections.usage")][-1] == 95.0


def test_it_begins_where_the_signal_began_to_rise() -> None:
    slow = beginning(at(0), False, risk(0), 60.0)
    assert slow.end == at(0) and slow.end - slow.start > timedelta(minutes=30)
    sudden = beginning(at(0), True, None, 60.0)
    assert (sudden.start, sudden.end) == (at(-4), at(1))
    assert beginning(at(0), True, None, 1.0).start == datetime(2026, 3, 2, 11, 59, 30, tzinfo=UTC)


def test_neighbours_are_found_both_ways_and_never_too_many() -> None:
    assert nearest(["shop/api"], [*EDGES, ("x", "y")]) == ["shop/api", "shop/db", "shop/web"]
    star = [("hub", f"s{i:03d}") for i in range(500)]
    assert len(nearest(["hub"], star)) == 60


def test_a_close_race_contradicts_nobody(database: psycopg.Connection[Any]) -> None:
    incident = incident_of(database, "firing", FAILED)
    own = Suspect("shop/web", 0.4, ("CPU of shop/web rose by 3",))
    assert verdict(incident, [Suspect("shop/api", 0.5, ("a",)), own])[0] == "same"
    assert verdict(incident, [Suspect("shop/api", 0.6, ("a",)), Suspect("shop/web", 0.2, ())])[0] == "other"
    assert verdict(incident, [own]) == (
        "same",
        "Telemetry around it points to shop/web, too: CPU of shop/web rose by 3.",
    )
    assert verdict(incident, []) == ("none", "")
