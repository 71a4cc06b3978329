"""Incidents in memory."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from forewarn.incidents.episodes import OPEN_STATES
from forewarn.incidents.records import Incident
from forewarn.telemetry.samples import namespace_of


class InMemoryIncidents:
    """IncidentStore in dictionaries; `edges` is the service graph."""

    def __init__(self, edges: Iterable[tuple[str, str]] = (), users: tuple[dict[str, int], int] | None = None) -> None:
        self._users = users or ({}, 0)
        self._versions: dict[str, dict[int, Incident]] = {}
        self._links: dict[str, str] = {}
        self._edges = sorted(edges)
        self._unpublished: list[Incident] = []

    def put(self, incident: Incident) -> None:
        """See IncidentStore."""
        versions = self._versions.setdefault(incident.incident_id, {})
        if incident.version not in versions:
            versions[incident.version] = incident
            self._unpublished.append(incident)

    def get(self, incident_id: str, version: int | None = None) -> Incident | None:
        """See IncidentStore."""
        versions = self._versions.get(incident_id, {})
        return versions.get(max(versions, default=0) if version is None else version)

    def open_incidents(self, namespace: str | None = None, closed_since: datetime | None = None) -> list[Incident]:
        """See IncidentStore."""
        latest = [versions[max(versions)] for versions in self._versions.values()]
        found = [
            i
            for i in latest
            if (i.state in OPEN_STATES or (closed_since is not None and i.updated_at >= closed_since))
            and namespace in (None, namespace_of(i.entity))
        ]
        return sorted(found, key=lambda i: (i.opened_at, i.incident_id))

    def link(self, episode: str, incident_id: str) -> None:
        """See IncidentStore."""
        self._links.setdefault(episode, incident_id)

    def move(self, episodes: Sequence[str], incident_id: str) -> None:
        """See IncidentStore."""
        self._links |= dict.fromkeys(episodes, incident_id)

    def incidents_of(self, episodes: Sequence[str]) -> dict[str, str]:
        """See IncidentStore."""
        return {e: self._links[e] for e in episodes if e in self._links}

    def edges(self) -> list[tuple[str, str]]:
        """See IncidentStore."""
        return list(self._edges)

    def users(self) -> tuple[dict[str, int], int]:
        """See IncidentStore."""
        return self._users

    def unpublished(self, limit: int = 500) -> list[Incident]:
        """See IncidentStore."""
        return self._unpublished[:limit]

    def mark_published(self, incidents: Sequence[Incident]) -> None:
        """See IncidentStore."""
        done = {(i.incident_id, i.version) for i in incidents}
        self._unpublished = [i for i in self._unpublished if (i.incident_id, i.version) not in done]
