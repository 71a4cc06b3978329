"""One prediction with its whole life: revisions, the signal before and after, outcome, track record, answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from forewarn.evaluation.ledger import TrackRecord
from forewarn.incidents.records import Incident, decode_incident
from forewarn.incidents.similar import SimilarIncident
from forewarn.risk.capacity import VERSION as CAPACITY
from forewarn.risk.records import Risk, decode_risk
from forewarn.stores.incident_causes import LocatedCauses
from forewarn.stores.ledger import PostgresLedger
from forewarn.stores.past_incidents import similar_incidents
from forewarn.stores.rollups import FIVE_MINUTES, WIDTHS, best_width
from forewarn.stores.views.capacity import Capacity, capacity_view
from forewarn.stores.views.causes import causes_view
from forewarn.stores.views.now import rows
from forewarn.telemetry.samples import namespace_of

POINTS = 400  # of the signal's history, at most


@dataclass(frozen=True, slots=True)
class Revision:
    """A prediction of the episode and how it was resolved. Quantiles are seconds after `predicted_at`."""

    revision: int
    state: str
    predicted_at: datetime
    probability: float
    p10_seconds: float | None
    p50_seconds: float | None
    p90_seconds: float | None
    model_version: str
    outcome: str | None
    failed_at: datetime | None
    lead_seconds: float | None
    error_seconds: float | None
    inside_80: bool | None


@dataclass(frozen=True, slots=True)
class Symptom:
    """Another episode of the same incident."""

    episode: str
    entity: str
    signal: str
    probability: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engineer said."""

    verdict: str
    note: str
    author: str
    given_at: datetime  # wall clock


@dataclass(frozen=True, slots=True)
class RiskView:
    """Everything the page of one prediction shows."""

    risk: Risk  # the newest revision
    incident: Incident | None
    clock: datetime | None
    revisions: tuple[Revision, ...]  # oldest first
    symptoms: tuple[Symptom, ...]
    failed_at: datetime | None
    recovered_at: datetime | None
    times: tuple[datetime, ...]  # of the signal as measured; empty where it is not archived as it is
    values: tuple[float, ...]
    track: TrackRecord  # of the same failure mode in the same namespace
    answers: tuple[Answer, ...]  # newest first
    causes: tuple[LocatedCauses, ...] = ()  # where the telemetry around the incident points to, newest first
    similar: tuple[SimilarIncident, ...] = ()  # past incidents like this one, most similar first
    capacity: Capacity | None = None  # the newest forecast, of a risk that came from one

    @property
    def first(self) -> Revision:
        """The warning: the first prediction of the episode."""
        return self.revisions[0]


Alike = Callable[[psycopg.Connection[Any], Incident], Sequence[SimilarIncident]]


def risk_view(
    connection: psycopg.Connection[Any],
    incident_id: str | None = None,
    episode: str | None = None,
    alike: Alike = similar_incidents,
) -> RiskView | None:
    """The prediction behind an incident (its likely cause) or an episode; None where there is none.

    Both are UUIDs as text; `episode` wins where both are given. alike: finds past incidents; who asks often remembers.
    """
    incident = incident_about(connection, incident_id, episode)
    episode = episode or (incident.episodes[0] if incident and incident.episodes else None)
    revisions = rows(connection, Revision, _REVISIONS, (episode,)) if episode else []
    if not revisions or episode is None:
        return None
    risk = decode_risk(_one(connection, _NEWEST, (episode,))[0].encode())
    clock = _one(connection, "select max(at) from watermarks where namespace = %s", (namespace_of(risk.entity),))[0]
    failure = next((r.failed_at for r in revisions if r.failed_at), incident.failed_at if incident else None)
    times, values = _measured(connection, risk, revisions[0].predicted_at, clock)
    others = [e for e in incident.episodes if e != episode] if incident else []
    return RiskView(
        risk=risk,
        incident=incident,
        clock=clock,
        revisions=tuple(revisions),
        symptoms=tuple(rows(connection, Symptom, _SYMPTOMS, (others,))),
        failed_at=failure,
        recovered_at=_recovered(connection, risk, failure),
        times=times,
        values=values,
        track=PostgresLedger(connection).track_record(risk.mode, namespace_of(risk.entity)),
        answers=tuple(rows(connection, Answer, _ANSWERS, (incident.incident_id if incident else None, episode))),
        causes=causes_view(connection, incident.incident_id) if incident else (),
        similar=tuple(alike(connection, incident)) if incident else (),
        capacity=_capacity(connection, risk),
    )


def _capacity(connection: psycopg.Connection[Any], risk: Risk) -> Capacity | None:
    if risk.model_version != CAPACITY:
        return None
    return next(iter(capacity_view(connection, risk.entity, risk.signal, most=1)), None)


def _one(connection: psycopg.Connection[Any], query: str, parameters: Any) -> Any:
    row = connection.execute(query.encode(), parameters).fetchone()
    return row if row is not None else (None,)


def incident_about(
    connection: psycopg.Connection[Any], incident_id: str | None = None, episode: str | None = None
) -> Incident | None:
    """The incident itself: of a failure that nobody predicted there is no risk, only this."""
    if episode is not None:
        query, key = "where incident_id = (select incident_id from incident_episodes where episode = %s)", episode
    elif incident_id is not None:
        query, key = "where incident_id = %s", incident_id
    else:
        return None
    payload = _one(connection, f"select payload::text from incidents {query}", (key,))[0]  # noqa: S608 (constants)
    return decode_incident(payload.encode()) if payload else None


def _recovered(connection: psycopg.Connection[Any], risk: Risk, failed_at: datetime | None) -> datetime | None:
    query = "select recovered_at from failures where entity = %s and signal = %s and failed_at = %s"
    recovered: datetime | None = _one(connection, query, (risk.entity, risk.signal, failed_at))[0]
    return recovered


def _measured(
    connection: psycopg.Connection[Any], risk: Risk, first: datetime, clock: datetime | None
) -> tuple[tuple[datetime, ...], tuple[float, ...]]:
    """The signal as it was measured, averaged to at most POINTS cells, from one history before the warning."""
    earliest = min((s for s in risk.forecast.history_seconds), default=-risk.horizon_seconds)
    start = first + timedelta(seconds=earliest)
    end = min(clock or risk.predicted_at, risk.expires_at)
    cell = timedelta(seconds=max(1.0, (end - start).total_seconds() / POINTS))
    values = {"cell": cell, "start": start, "end": end, "entity": risk.entity, "signal": risk.signal}
    for source in _sources(cell):
        found = connection.execute(_MEASURED.format(source=source).encode(), values).fetchall()
        if found:
            break
    return tuple(t for t, _ in found), tuple(float(v) for _, v in found)


def _sources(cell: timedelta) -> tuple[str, ...]:
    """Where to look, in order: roll-ups for wide cells, else samples, else what retention has left of them."""
    width = best_width(cell)
    tables = [WIDTHS[each] for each in (width, FIVE_MINUTES) if each]
    rolled = [f"(select series_id, time, mean as value from {table})" for table in tables]  # noqa: S608 (constants)
    return (*rolled[:-1], "metric_samples", rolled[-1])


_REVISIONS = """
select r.revision, r.state, r.predicted_at, r.probability, r.p10_seconds, r.p50_seconds, r.p90_seconds,
       r.model_version, o.outcome, o.failed_at, o.lead_seconds, o.error_seconds, o.inside_80
from risks r left join outcomes o using (risk_id) where r.episode = %s order by r.revision
"""

_NEWEST = "select payload::text from risks where episode = %s order by revision desc limit 1"

_SYMPTOMS = """
select distinct on (episode) episode::text, entity, signal, probability from risks
where episode = any(%s::uuid[]) order by episode, revision desc
"""

_ANSWERS = """
select verdict, note, author, given_at from feedback
where incident_id = %s::uuid or episode = %s::uuid order by given_at desc limit 50
"""

_MEASURED = """
select date_bin(%(cell)s, time, %(start)s) as cell, avg(value) from {source} measured
where series_id = (
    select series_id from metric_series where entity = %(entity)s and name = %(signal)s and kind = 'gauge')
  and time between %(start)s and %(end)s and value <> 'NaN'
group by cell order by cell
"""
