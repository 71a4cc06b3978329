"""What the page of a risk shows of past incidents like it."""

from typing import Any

import psycopg

from forewarn.incidents.similar import SimilarIncident
from forewarn.stores.incidents import PostgresIncidents
from forewarn.stores.past_incidents import similar_incidents


def similar_to(connection: psycopg.Connection[Any], incident_id: str, limit: int = 5) -> list[SimilarIncident]:
    """Past incidents like this one, the most similar first; none where it is not known.

    Each has `similarity` (0 to 1), `shared` (traits in words), `sentence`, and `past` with the incident, the engineer's
    verdict and note, and `mended_after_seconds`.
    """
    incident = PostgresIncidents(connection).get(incident_id)
    return similar_incidents(connection, incident, limit) if incident is not None else []
