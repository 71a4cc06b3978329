"""Reads past incidents: those like one, and what began together."""

from datetime import datetime, timedelta
from typing import Any

import psycopg

from forewarn.incidents.co_occurrence import Opening
from forewarn.incidents.episodes import OPEN_STATES
from forewarn.incidents.records import Incident, decode_incident
from forewarn.incidents.similar import PastIncident, SimilarIncident, similar

LOOK_BACK = timedelta(days=90)

_PAST = """
select i.payload::text, coalesce(said.verdict, ''), coalesce(said.note, ''), coalesce(said.author, '')
from incidents i left join lateral (
    select verdict, note, author from feedback f where f.incident_id = i.incident_id
    order by (note = ''), given_at desc limit 1) said on true
where not i.state = any(%(open)s) and i.state <> 'merged' and i.opened_at < %(before)s
and (i.mode = %(mode)s or i.entity = %(entity)s)
order by (i.mode = %(mode)s and i.entity = %(entity)s) desc, i.opened_at desc limit %(limit)s
"""
_OPENINGS = """
select entity, mode, at from (
    select r.entity, r.mode, min(r.predicted_at) as at from risks r
    where r.state = 'open' and r.predicted_at >= (select max(at) from watermarks) - %(back)s
    group by r.episode, r.entity, r.mode
    union all
    select f.entity, f.mode, f.failed_at from failures f
    where not f.predicted and f.failed_at >= (select max(at) from watermarks) - %(back)s) o
order by at desc limit %(limit)s
"""


def past_incidents(
    connection: psycopg.Connection[Any], entity: str, mode: str, before: datetime, limit: int = 300
) -> list[PastIncident]:
    """Closed incidents of the mode or entity that opened before, with the last answer that has a note.

    Those of both come first, then the latest.
    """
    parameters = {"open": list(OPEN_STATES), "before": before, "mode": mode, "entity": entity, "limit": limit}
    found = []
    for payload, verdict, note, author in connection.execute(_PAST, parameters):
        incident = decode_incident(payload.encode())
        found.append(PastIncident(incident, incident.updated_at, verdict, note, author))
    return found


def similar_incidents(connection: psycopg.Connection[Any], incident: Incident, limit: int = 5) -> list[SimilarIncident]:
    """Past incidents most like one, the most similar first."""
    past = past_incidents(connection, incident.entity, incident.mode, incident.opened_at)
    return similar(incident, past, limit)


def last_like(connection: psycopg.Connection[Any], entity: str, mode: str, before: datetime, but: str) -> str:
    """What became of the last one of this entity and mode that is not incident `but`, as a sentence; '' without one."""
    for past in past_incidents(connection, entity, mode, before, limit=2):
        incident = past.incident
        if (incident.entity, incident.mode) == (entity, mode) and incident.incident_id != but:
            return SimilarIncident(past, 1.0, ()).sentence
    return ""


def openings(connection: psycopg.Connection[Any], limit: int = 5000) -> list[Opening]:
    """What began within the last 90 days of event time, the latest `limit` of it."""
    rows = connection.execute(_OPENINGS, {"back": LOOK_BACK, "limit": limit})
    return [Opening(*row) for row in rows]
