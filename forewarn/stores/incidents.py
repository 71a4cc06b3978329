"""Incidents in PostgreSQL: the latest version, every version, which episodes belong to which; and the service graph."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

import psycopg

from forewarn.incidents.episodes import OPEN_STATES
from forewarn.incidents.records import Incident, decode_incident, encode_incident


class IncidentStore(Protocol):
    """What a store of incidents can do; it runs in its caller's transaction."""

    def put(self, incident: Incident) -> None:
        """Append a version and make it the current one. A version that is there already is left as it is."""

    def get(self, incident_id: str, version: int | None = None) -> Incident | None:
        """The current or a certain version."""

    def open_incidents(self, namespace: str | None = None, closed_since: datetime | None = None) -> list[Incident]:
        """Incidents that are predicted or firing, and those that closed at `closed_since` (event time) or later.

        The oldest first; of one namespace or of all.
        """

    def link(self, episode: str, incident_id: str) -> None:
        """An episode belongs to one incident, the first that it was linked with."""

    def move(self, episodes: Sequence[str], incident_id: str) -> None:
        """These episodes belong to another incident from now on."""

    def incidents_of(self, episodes: Sequence[str]) -> dict[str, str]:
        """Incident of each of these episodes that belongs to one."""

    def edges(self) -> list[tuple[str, str]]:
        """The service graph: client, server."""

    def users(self) -> tuple[dict[str, int], int]:
        """Users seen in the last hour of event time: by service, and all of them."""

    def unpublished(self, limit: int = 500) -> list[Incident]:
        """Versions that are not on the topic yet, in the order in which they were put."""

    def mark_published(self, incidents: Sequence[Incident]) -> None:
        """These versions are on the topic."""


_USERS = b"""
select service, count(distinct user_hash) from activity_events
where time > (select max(at) from watermarks) - interval '1 hour' and user_hash is not null
group by rollup (service)
"""
_PUT = """
insert into incidents (incident_id, version, state, severity, entity, mode, title, opened_at, updated_at, failed_at,
                       payload)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (incident_id) do update set
    version = excluded.version, state = excluded.state, severity = excluded.severity, entity = excluded.entity,
    mode = excluded.mode, title = excluded.title, opened_at = excluded.opened_at, updated_at = excluded.updated_at,
    failed_at = excluded.failed_at, payload = excluded.payload
where incidents.version < excluded.version
"""
_OPEN = """
select payload::text from incidents
where (state = any(%(states)s) or updated_at >= %(closed_since)s::timestamptz)
and (%(namespace)s::text is null
     or case when strpos(entity, '/') > 0 then split_part(entity, '/', 1) else '' end = %(namespace)s)
order by opened_at, incident_id
"""


class PostgresIncidents:
    """IncidentStore on a connection; the caller begins and ends the transaction."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def put(self, incident: Incident) -> None:
        """See IncidentStore."""
        i, payload = incident, encode_incident(incident).decode()
        self._connection.execute(
            b"insert into incident_history (incident_id, version, payload, recorded_at)"
            b" values (%s, %s, %s, clock_timestamp()) on conflict do nothing",
            (i.incident_id, i.version, payload),
        )
        row = (i.incident_id, i.version, i.state, i.severity, i.entity, i.mode, i.title, i.opened_at, i.updated_at,
               i.failed_at, payload)  # fmt: skip
        self._connection.execute(_PUT, row)

    def get(self, incident_id: str, version: int | None = None) -> Incident | None:
        """See IncidentStore."""
        row = self._connection.execute(
            b"select payload::text from incident_history where incident_id = %s and (%s::int is null or version = %s)"
            b" order by version desc limit 1",
            (incident_id, version, version),
        ).fetchone()
        return decode_incident(row[0].encode()) if row else None

    def open_incidents(self, namespace: str | None = None, closed_since: datetime | None = None) -> list[Incident]:
        """See IncidentStore."""
        parameters = {"states": list(OPEN_STATES), "namespace": namespace, "closed_since": closed_since}
        return [decode_incident(payload.encode()) for (payload,) in self._connection.execute(_OPEN, parameters)]

    def stamp(self) -> tuple[int, int]:
        """Another one whenever an open incident is another: how many there are, and the sum of their versions."""
        row = self._connection.execute(
            b"select count(*), coalesce(sum(version), 0)::bigint from incidents where state = any(%s)",
            (list(OPEN_STATES),),
        ).fetchone()
        return row if row is not None else (0, 0)

    def link(self, episode: str, incident_id: str) -> None:
        """See IncidentStore."""
        self._connection.execute(
            b"insert into incident_episodes (episode, incident_id) values (%s, %s) on conflict do nothing",
            (episode, incident_id),
        )

    def move(self, episodes: Sequence[str], incident_id: str) -> None:
        """See IncidentStore."""
        self._connection.execute(
            b"insert into incident_episodes (episode, incident_id) select e, %s from unnest(%s::uuid[]) e"
            b" on conflict (episode) do update set incident_id = excluded.incident_id",
            (incident_id, list(episodes)),
        )

    def incidents_of(self, episodes: Sequence[str]) -> dict[str, str]:
        """See IncidentStore."""
        rows = self._connection.execute(
            b"select episode::text, incident_id::text from incident_episodes where episode = any(%s::uuid[])",
            (list(episodes),),
        )
        return dict(rows.fetchall())

    def edges(self) -> list[tuple[str, str]]:
        """See IncidentStore."""
        rows = self._connection.execute(b"select client, server from service_edges order by client, server")
        return [(client, server) for client, server in rows]

    def users(self) -> tuple[dict[str, int], int]:
        """See IncidentStore."""
        rows = self._connection.execute(_USERS).fetchall()
        counts = {service: count for service, count in rows if service is not None}
        return counts, next((count for service, count in rows if service is None), 0)

    def unpublished(self, limit: int = 500) -> list[Incident]:
        """See IncidentStore."""
        rows = self._connection.execute(
            b"select payload::text from incident_history where not published order by recorded_at, version limit %s",
            (limit,),
        )
        return [decode_incident(payload.encode()) for (payload,) in rows]

    def mark_published(self, incidents: Sequence[Incident]) -> None:
        """See IncidentStore."""
        with self._connection.cursor() as cursor:
            cursor.executemany(
                b"update incident_history set published = true where incident_id = %s and version = %s",
                [(i.incident_id, i.version) for i in incidents],
            )
