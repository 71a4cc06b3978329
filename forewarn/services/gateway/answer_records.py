"""What people answered, by link or in a channel, as feedback; the alerter takes it from there and audits it."""

from typing import Any

import psycopg

from forewarn.alerting.pagerduty_answers import Acknowledgement
from forewarn.config.settings import Settings
from forewarn.incidents.episodes import OPEN_STATES
from forewarn.incidents.records import Incident
from forewarn.stores.feedback import Feedback, PostgresFeedback
from forewarn.stores.incidents import PostgresIncidents
from forewarn.stores.outbox import PostgresOutbox

_LONGEST_CHAIN = 20  # of incidents merged into each other


def answer_database(settings: Settings, **options: Any) -> str:
    """Where answers are stored; options: of libpq."""
    url = settings.postgres_url.get_secret_value()
    return psycopg.conninfo.make_conninfo(url, **{"connect_timeout": 5, "application_name": "answers", **options})


def find(connection: psycopg.Connection[Any], incident_id: str) -> Incident | None:
    """The incident, or the one that goes on instead of it."""
    incidents = PostgresIncidents(connection)
    incident = incidents.get(incident_id)
    for _ in range(_LONGEST_CHAIN):
        if incident is None or not incident.merged_into:
            break
        incident = incidents.get(incident.merged_into) or incident
    return incident


def record(
    connection: psycopg.Connection[Any], incident_id: str, answer_id: str, verdict: str, author: str, note: str = ""
) -> tuple[Incident | None, bool]:
    """The incident that was answered, None where it is not known; and whether the answer is new."""
    incident = find(connection, incident_id)
    if incident is None:
        return None, False
    feedback = Feedback(answer_id, incident.incident_id, None, verdict, note, author)
    return incident, PostgresFeedback(connection).add(feedback)


def acknowledge(connection: psycopg.Connection[Any], said: Acknowledgement) -> bool:
    """Enter it for each open incident that was told under its key; False where there never was any."""
    one = find(connection, said.key)
    told = [one] if one is not None else [find(connection, i) for i in PostgresOutbox(connection).sharing(_of(said))]
    known = {i.incident_id: i for i in told if i is not None}
    for incident_id in (i for i, incident in known.items() if incident.state in OPEN_STATES):
        feedback = (said.answer_id(incident_id), incident_id, None, "acknowledged", said.note, said.author)
        PostgresFeedback(connection).add(Feedback(*feedback))
    return bool(known)


def _of(said: Acknowledgement) -> dict[str, str]:
    return {"dedup_key": said.key}
