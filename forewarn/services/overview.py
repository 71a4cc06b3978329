"""What `forewarn status` tells: processes, lag, rates, clocks, model, risks; each part by itself may be missing."""

import contextlib
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psutil
import psycopg

from forewarn.config.running import StackState
from forewarn.config.settings import Settings
from forewarn.telemetry import topics

_RATE_SECONDS = 2.3  # processes write their counters every 2 s
_STALE_SECONDS = 30.0  # an instance that has been silent for so long is of the past if another one of it lives


@dataclass(frozen=True)
class ServiceRow:
    """A process of the stack. `memory_bytes` is the resident memory of it and its descendants."""

    name: str
    title: str
    phase: str
    pid: int | None
    restarts: int
    uptime_seconds: float | None
    memory_bytes: int | None
    address: str
    detail: str


@dataclass(frozen=True)
class ProcessRow:
    """What a process says of itself. `rates`: per second, of each counter that ends in _total."""

    service: str
    instance: str
    seen_seconds_ago: float
    counters: Mapping[str, float]
    rates: Mapping[str, float]


@dataclass(frozen=True)
class Champion:
    """The model that serves."""

    version: str
    trained_at: datetime
    age_seconds: float


@dataclass(frozen=True)
class Overview:
    """All of it. `problems` are sentences about what could not be asked."""

    stack: StackState | None
    services: tuple[ServiceRow, ...] = ()
    processes: tuple[ProcessRow, ...] = ()
    groups: Mapping[str, int] = field(default_factory=dict)  # messages that a consumer group has still to read
    clocks: Mapping[str, datetime] = field(default_factory=dict)
    champion: Champion | None = None
    open_risks: int | None = None
    anomalies: int | None = None  # that last now
    incidents: Mapping[str, int] = field(default_factory=dict)  # open ones, by state
    messages: Mapping[str, int] = field(default_factory=dict)  # pages, by status
    dead_letters: int | None = None
    problems: tuple[str, ...] = ()


def overview(settings: Settings, stack: StackState | None) -> Overview:
    """Ask everybody, in parallel; takes about 2.5 s where rates can be told, at most some 10 s."""
    with ThreadPoolExecutor(3) as pool:
        database = pool.submit(_ask_database, settings.postgres_url.get_secret_value())
        broker = pool.submit(_ask_broker, settings.kafka_bootstrap)
        services = tuple(_service_rows(stack)) if stack else ()
        known, offsets, database_problem = database.result()
        ends, broker_problem = broker.result()
    groups = {**_lags(offsets, ends), **_told_lags(known.get("processes", ()))} if ends is not None else {}
    dead = None if ends is None else sum(end for (topic, _), end in ends.items() if topic == topics.DEAD_LETTERS)
    problems = tuple(p for p in (database_problem, broker_problem) if p)
    return Overview(stack, services, groups=groups, dead_letters=dead, problems=problems, **known)


def _service_rows(stack: StackState) -> list[ServiceRow]:
    now = time.time()
    return [
        ServiceRow(
            s.name, s.title, s.phase, s.pid, s.restarts,
            now - s.started_at if s.pid and s.started_at else None, _memory(s.pid) if s.pid else None,
            s.address, s.detail,
        )
        for s in stack.services
    ]  # fmt: skip


def _memory(pid: int) -> int | None:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        total: int = process.memory_info().rss
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                total += child.memory_info().rss
        return total
    return None


def _ask_broker(bootstrap: str) -> tuple[dict[tuple[str, int], int] | None, str]:
    from confluent_kafka import KafkaException

    from forewarn.stores.log_ends import end_offsets

    try:
        return end_offsets(bootstrap, topics.ALL, 4.0), ""
    except KafkaException:
        return None, f"the broker does not answer at {bootstrap}: lag and dead letters are unknown"


def _ask_database(url: str) -> tuple[dict[str, Any], dict[tuple[str, str, int], int], str]:
    where = psycopg.conninfo.conninfo_to_dict(url)
    place = f"{where.get('host')}:{where.get('port')}"
    try:
        with psycopg.connect(
            url, connect_timeout=4, autocommit=True, options="-c statement_timeout=8000"
        ) as connection:
            return _read(connection), _offsets(connection), ""
    except psycopg.OperationalError:
        return {}, {}, f"PostgreSQL does not answer at {place}: rates, model, risks and incidents are unknown"
    except psycopg.errors.UndefinedTable:
        return {}, {}, f"the database at {place} has no tables yet: `forewarn up` makes them"


def _read(connection: psycopg.Connection) -> dict[str, Any]:
    first = _counters(connection)
    champion = connection.execute(_CHAMPION).fetchone()
    risks = connection.execute(_OPEN_RISKS).fetchone()
    known: dict[str, Any] = {
        "clocks": dict(connection.execute("select namespace, at from watermarks order by namespace").fetchall()),
        "champion": Champion(*champion) if champion else None,
        "open_risks": risks[0] if risks else None,
        "anomalies": connection.execute(_ANOMALIES).fetchall()[0][0],
        "incidents": dict(connection.execute(_INCIDENTS).fetchall()),
        "messages": dict(connection.execute("select status, count(*)::int from outbox group by status").fetchall()),
    }
    if first:
        time.sleep(_RATE_SECONDS)
    return {**known, "processes": _process_rows(first, _counters(connection))}


def _counters(connection: psycopg.Connection) -> dict[tuple[str, str], tuple[datetime, float, dict[str, float]]]:
    found = connection.execute(_PROCESSES).fetchall()
    return {(service, instance): (seen, age, counters) for service, instance, seen, age, counters in found}


def _process_rows(
    first: Mapping[tuple[str, str], tuple[datetime, float, dict[str, float]]],
    second: Mapping[tuple[str, str], tuple[datetime, float, dict[str, float]]],
) -> tuple[ProcessRow, ...]:
    rows = []
    for key, (seen, age, counters) in second.items():
        seen_before, _, before = first.get(key, (seen, 0.0, {}))
        seconds = (seen - seen_before).total_seconds()
        totals = {n: v for n, v in counters.items() if n.endswith("_total") and isinstance(v, int | float)}
        rates = {n: max(0.0, v - before.get(n, 0)) / seconds for n, v in totals.items()} if seconds > 0 else {}
        rows.append(ProcessRow(*key, age, counters, rates))
    live = {row.service for row in rows if row.seen_seconds_ago < _STALE_SECONDS}
    return tuple(r for r in rows if r.service not in live or r.seen_seconds_ago < _STALE_SECONDS)


def _offsets(connection: psycopg.Connection) -> dict[tuple[str, str, int], int]:
    found = connection.execute("select consumer_group, topic, partition, next_offset from consumer_offsets").fetchall()
    return {(group, topic, partition): offset for group, topic, partition, offset in found}


def _lags(offsets: Mapping[tuple[str, str, int], int], ends: Mapping[tuple[str, int], int]) -> dict[str, int]:
    """Lag of each group over all partitions of the topics that it has read from."""
    read = {(group, topic) for group, topic, _ in offsets}
    lags: dict[str, int] = {group: 0 for group, _ in sorted(read)}
    for (topic, partition), end in ends.items():
        for group in (g for g, t in read if t == topic):
            lags[group] += max(0, end - offsets.get((group, topic, partition), 0))
    return lags


def _told_lags(processes: tuple[ProcessRow, ...]) -> dict[str, int]:
    """Groups that keep their offsets elsewhere say their lag themselves."""
    told: dict[str, int] = {}
    for row in processes:
        if row.service == "predictor" and "lag_messages" in row.counters and row.seen_seconds_ago < 60:
            told[row.service] = told.get(row.service, 0) + int(row.counters["lag_messages"])
    return told


_CHAMPION = """
select version, trained_at, extract(epoch from now() - trained_at)::float8 from model_versions where stage = 'champion'
"""
_INCIDENTS = "select state, count(*)::int from incidents where state in ('predicted', 'firing') group by state"
_OPEN_RISKS = """
select count(*)::int from (
    select distinct on (episode) episode, state, entity, expires_at, risk_id from risks order by episode, revision desc
) r left join watermarks w on w.namespace = split_part(r.entity, '/', 1)
where r.state <> 'withdrawn' and (w.at is null or r.expires_at > w.at)
  and not exists (select from outcomes o where o.risk_id = r.risk_id)
"""
_ANOMALIES = "select count(*)::int from anomalies where ended_at is null"
_PROCESSES = """
select service, instance, seen_at, extract(epoch from now() - seen_at)::float8, counters from service_status
where seen_at > now() - interval '1 hour' order by service, instance
"""
