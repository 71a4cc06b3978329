"""Where the telemetry around an incident points to, for its page."""

from typing import Any

import psycopg

from forewarn.stores.incident_causes import LocatedCauses, PostgresIncidentCauses


def causes_view(connection: psycopg.Connection[Any], incident_id: str) -> tuple[LocatedCauses, ...]:
    """The rankings of an incident (a UUID as text), the newest first; empty until the archive was asked."""
    return tuple(PostgresIncidentCauses(connection).of(incident_id))
