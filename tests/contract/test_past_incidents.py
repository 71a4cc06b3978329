"""What the alerter and the page of a risk read of past incidents, in PostgreSQL."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from incident_records import ERRORS, at, clock, failure, recovery, risk

from forewarn.incidents.co_occurrence import Opening
from forewarn.services.alerter.desk import Desk, Rules, Stores
from forewarn.stores.audit import PostgresAudit
from forewarn.stores.feedback import Feedback, PostgresFeedback, new_id
from forewarn.stores.incidents import PostgresIncidents
from forewarn.stores.ledger import PostgresLedger
from forewarn.stores.outbox import PostgresOutbox
from forewarn.stores.past_incidents import last_like, openings, similar_incidents


@pytest.fixture
def connection(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A database in which the pool failed and was mended, and is predicted to fail again a day later."""
    with psycopg.connect(postgres_url) as connection:
        ledger, incidents = PostgresLedger(connection), PostgresIncidents(connection)
        feedback = PostgresFeedback(connection)
        desk = Desk(Stores(ledger, incidents, PostgresOutbox(connection), feedback, PostgresAudit(connection)), Rules())
        desk.take_risk(risk(0))
        desk.take_observation(failure(100))
        desk.take_observation(recovery(125))
        (past,) = incidents.open_incidents(closed_since=at(0))
        feedback.add(Feedback(new_id(), past.incident_id, None, "confirmed", "raised the pool to 140", "ada"))
        feedback.add(Feedback(new_id(), past.incident_id, None, "acknowledged", "", "bob"))
        desk.take_observation(failure(400, "shop/api", ERRORS))
        desk.take_risk(risk(1440))
        desk.take_observation(clock(1441))
        yield connection


def test_the_last_one_like_it_is_told_with_its_mending(connection: psycopg.Connection[Any]) -> None:
    said = last_like(connection, "shop/db", "connection_exhaustion", at(1440), "")
    assert said == (
        "The last one like it (2026-03-02 12:00 UTC) was over 25 min after it failed: raised the pool to 140."
    )
    assert last_like(connection, "shop/db", "connection_exhaustion", at(-1), "") == "", "nothing before"
    assert last_like(connection, "shop/cache", "connection_exhaustion", at(1440), "") == "", "another entity"


def test_the_page_of_a_risk_shows_incidents_like_it(connection: psycopg.Connection[Any]) -> None:
    now = next(i for i in PostgresIncidents(connection).open_incidents("shop") if i.entity == "shop/db")
    (like,) = similar_incidents(connection, now)
    assert like.similarity == 1.0 and like.past.mended_after_seconds == 1500.0
    assert (like.past.verdict, like.past.note, like.past.author) == ("confirmed", "raised the pool to 140", "ada")


def test_openings_are_first_predictions_and_failures_nobody_predicted(connection: psycopg.Connection[Any]) -> None:
    pool = ("shop/db", "connection_exhaustion")
    assert openings(connection) == [
        Opening(*pool, at(1440)), Opening("shop/api", "error_rate_climb", at(400)), Opening(*pool, at(0)),
    ]  # fmt: skip
    assert openings(connection, limit=1) == [Opening(*pool, at(1440))]
