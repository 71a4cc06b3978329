"""Writes down what an engineer answered to a prediction."""

import uuid

import psycopg

VERDICTS = {"confirmed": "confirmed", "dismissed": "dismissed", "averted": "averted"}


def record_answer(
    postgres_url: str, incident_id: str | None, episode: str | None, verdict: str, note: str, author: str
) -> None:
    """Append a verdict ('confirmed', 'dismissed' or 'averted') on an incident or an episode.

    Raises ValueError for another verdict, psycopg.Error where it could not be stored.
    """
    if verdict not in VERDICTS:
        raise ValueError(f"{verdict!r} is no verdict; there are {', '.join(VERDICTS)}")
    with psycopg.connect(postgres_url, connect_timeout=3) as connection:
        connection.execute(
            "insert into feedback (feedback_id, incident_id, episode, verdict, note, author)"
            " values (%s, %s, %s, %s, %s, %s)",
            (uuid.uuid4(), incident_id, episode, verdict, note, author),
        )
