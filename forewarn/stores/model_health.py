"""How each model does while it serves or shadows: written by the predictors, read by who decides on a roll-back.

A row counts what one predictor process saw of one model in one role within one minute of wall clock. Rows of the
minute at hand grow every few seconds. Rates are to be taken per batch or per row, not per minute: a replay scores
many cells a second.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any

import psycopg

CHAMPION, SHADOW = "champion", "shadow"


@dataclass(frozen=True, slots=True)
class HealthMinute:
    """What a predictor saw of a model in a minute.

    batches: scorings of a namespace. rows: signals in them. abstained: rows of which nothing was predicted, whatever
    the model says (too little history, missing data …). alerts: rows with a probability from the threshold on. opened:
    risks told for the first time. errors: batches on which the model raised or answered what cannot be; another model
    scored them. dropped: batches that a shadow left out because it was too slow. The latencies are of whole batches.
    """

    model_version: str
    role: str
    instance: str
    minute: datetime
    batches: int = 0
    rows: int = 0
    abstained: int = 0
    alerts: int = 0
    opened: int = 0
    errors: int = 0
    dropped: int = 0
    p50_seconds: float | None = None
    p99_seconds: float | None = None
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """The sum over minutes and processes. p99_seconds: the worst minute's; minutes: how many there are."""

    minutes: int
    batches: int
    rows: int
    abstained: int
    alerts: int
    opened: int
    errors: int
    dropped: int
    p99_seconds: float | None
    last_error: str

    @property
    def error_share(self) -> float:
        """Share of the batches on which the model failed."""
        return self.errors / max(self.batches, 1)


_WRITE = """
insert into model_health (model_version, role, instance, minute, batches, rows, abstained, alerts, opened, errors,
                          dropped, p50_seconds, p99_seconds, last_error)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (model_version, role, instance, minute) do update set
    batches = excluded.batches, rows = excluded.rows, abstained = excluded.abstained, alerts = excluded.alerts,
    opened = excluded.opened, errors = excluded.errors, dropped = excluded.dropped,
    p50_seconds = excluded.p50_seconds, p99_seconds = excluded.p99_seconds, last_error = excluded.last_error
"""
_READ = """
select count(distinct minute)::int, coalesce(sum(batches), 0)::int, coalesce(sum(rows), 0)::bigint,
       coalesce(sum(abstained), 0)::bigint, coalesce(sum(alerts), 0)::bigint, coalesce(sum(opened), 0)::int,
       coalesce(sum(errors), 0)::int, coalesce(sum(dropped), 0)::int, max(p99_seconds),
       coalesce((array_agg(last_error order by minute desc) filter (where last_error <> ''))[1], '')
from model_health
where model_version = %s and role = %s and minute >= date_trunc('minute', %s::timestamptz) and minute < %s
"""


def write(connection: psycopg.Connection[Any], minutes: Iterable[HealthMinute]) -> None:
    """Store minutes; one that is there is replaced. Raises psycopg.Error."""
    with connection.cursor() as cursor:
        cursor.executemany(_WRITE, [astuple(m) for m in minutes])


def read(
    connection: psycopg.Connection[Any], model_version: str, since: datetime, until: datetime, role: str = CHAMPION
) -> Health:
    """How a model did in a role between two times of wall clock, by whole minutes; zeros where nothing is known.

    The version of the model that serves before any was trained is that of `forewarn.risk.first_day.FirstDayScorer`.
    """
    row = connection.execute(_READ, (model_version, role, since, until)).fetchone()
    assert row is not None
    return Health(*row)
