"""Where the telemetry around an incident points to: one ranking when it was predicted, one when it failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import psycopg

ABOUT = ("prediction", "failure")
RELATIONS = ("same", "other", "none")  # as the incident's named cause, another, nothing unusual


@dataclass(frozen=True, slots=True)
class RankedCause:
    """An entity, its share of all that is unusual (0 to 1), and sentences with their numbers and queries."""

    entity: str
    score: float
    reasons: list[str]
    queries: list[str]


@dataclass(frozen=True, slots=True)
class LocatedCauses:
    """One ranking, most likely first. sentence: what it adds to what the incident says, '' where nothing."""

    incident_id: str
    about: str  # of ABOUT
    relation: str  # of RELATIONS
    sentence: str
    suspects: list[RankedCause]
    window_start: datetime  # event time: what came from here until the end was held against what came before
    window_end: datetime
    seconds: float  # that it took
    looked_at: datetime | None = None  # wall clock


@dataclass(frozen=True, slots=True)
class Unlocated:
    """An incident of which nobody has asked the telemetry yet. at: event time of the prediction or the failure."""

    incident_id: str
    about: str
    at: datetime
    entity: str


class PostgresIncidentCauses:
    """Table incident_causes, on a connection of the caller's."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def put(self, causes: LocatedCauses) -> bool:
        """Keep a ranking; False where there is one already."""
        c = causes
        suspects = msgspec.json.encode(c.suspects).decode()
        row = (c.incident_id, c.about, c.relation, c.sentence, suspects, c.window_start, c.window_end, c.seconds)
        return self._connection.execute(_PUT, row).rowcount > 0

    def of(self, incident_id: str) -> list[LocatedCauses]:
        """The rankings of an incident, the newest first."""
        rows = self._connection.execute(_OF, (incident_id,)).fetchall()
        return [LocatedCauses(r[0], r[1], r[2], r[3], _suspects.decode(r[4]), r[5], r[6], r[7], r[8]) for r in rows]

    def sentence(self, incident_id: str) -> str:
        """What the newest ranking that says something adds, '' where none does."""
        return next((causes.sentence for causes in self.of(incident_id) if causes.sentence), "")

    def pending(self, patience_seconds: float, about: Sequence[str] = ABOUT, limit: int = 20) -> list[Unlocated]:
        """Incidents without a ranking, the newest first, once their first message was sent or has waited so long.

        Those of more than an hour ago (event time of the namespace) are left alone.
        """
        values = {"about": list(about), "patience": patience_seconds, "limit": limit}
        return [Unlocated(*row) for row in self._connection.execute(_PENDING, values).fetchall()]


_suspects = msgspec.json.Decoder(list[RankedCause])

_PUT = b"""
insert into incident_causes (incident_id, about, relation, sentence, suspects, window_start, window_end, seconds)
values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing
"""

_OF = b"""
select incident_id::text, about, relation, sentence, suspects::text, window_start, window_end, seconds, looked_at
from incident_causes where incident_id = %s order by looked_at desc, about
"""

_PENDING = b"""
select w.incident_id::text, w.about, w.at, w.entity from (
    select incident_id, 'prediction' as about, opened_at as at, entity, updated_at from incidents
    where state = 'predicted'
    union all
    select incident_id, 'failure', failed_at, entity, updated_at from incidents where failed_at is not null
) w
left join watermarks c
    on c.namespace = case when strpos(w.entity, '/') > 0 then split_part(w.entity, '/', 1) else '' end
where w.about = any(%(about)s) and w.at >= coalesce(c.at, w.at) - interval '1 hour'
and not exists (select from incident_causes k where k.incident_id = w.incident_id and k.about = w.about)
and not exists (select from outbox o where o.incident_id = w.incident_id and o.status = 'pending'
                and o.created_at > now() - make_interval(secs => %(patience)s))
order by w.at desc limit %(limit)s
"""
