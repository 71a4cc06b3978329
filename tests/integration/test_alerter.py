"""The alerter with a real broker, PostgreSQL and SMTP server: told once, whatever breaks meanwhile."""

import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alerter_stack import Stack, eventually, stack_on
from confluent_kafka import Consumer, TopicPartition
from incident_records import ERRORS, LATENCY, SHOP_EDGES, at, clock, failure, recovery, risk
from servers import free_port, running_broker

from forewarn.incidents.records import decode_incident
from forewarn.risk.records import encode
from forewarn.stores.feedback import Feedback, PostgresFeedback, Silence, new_id
from forewarn.stores.ledger import PostgresLedger
from forewarn.telemetry import topics


@pytest.fixture
def database(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for edge in SHOP_EDGES:
            connection.execute("insert into service_edges (client, server, last_seen) values (%s, %s, now())", edge)
        yield connection


@pytest.fixture
def stack(own_broker: str, postgres_url: str, tmp_path: Path) -> Iterator[Stack]:
    stack = stack_on(own_broker, postgres_url, free_port(), tmp_path)
    stack.inbox.start()
    yield stack
    stack.inbox.stop()


def counted(database: psycopg.Connection[Any], question: str) -> int:
    row = database.execute(question.encode()).fetchone()
    assert row is not None
    return int(row[0])


def read_topic(bootstrap: str, topic: str, count: int) -> list[Any]:
    """The messages of a topic, of which there must be so many."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, p, 0) for p in range(4)])
    messages = consumer.consume(count, timeout=10) + consumer.consume(1, timeout=0.3)
    consumer.close()
    assert len(messages) == count
    return messages


def test_from_the_first_warning_to_the_end(stack: Stack, database: psycopg.Connection[Any]) -> None:
    with stack.alerter():
        stack.send(risk(0), risk(12, "shop/api", ERRORS), risk(20, "shop/gateway", LATENCY), clock(21))
        eventually(lambda: len(stack.inbox.mails) == 1)
        stack.send(risk(60, revision=1, opened=0, left_hours=1.2), clock(61))
        stack.send(failure(118), failure(121, "shop/api", ERRORS), clock(122))
        eventually(lambda: len(stack.inbox.mails) == 2)
        stack.send(recovery(140), recovery(141, "shop/api", ERRORS), clock(150))
        eventually(lambda: len(stack.inbox.mails) == 3)
        stack.send(clock(1000))
        eventually(lambda: counted(database, "select count(*) from outcomes") == 4)
    opened, failed, resolved = stack.inbox.mails
    assert opened["Subject"] == "[Forewarn] shop/db: connection pool reaches its limit of 100"
    assert failed["Subject"] == resolved["Subject"] == f"Re: {opened['Subject']}"
    assert failed["In-Reply-To"] == opened["Message-ID"] != failed["Message-ID"]
    assert resolved["References"] == f"{opened['Message-ID']} {failed['Message-ID']}"
    text = failed.get_body(("plain",)).get_content()
    assert "as predicted 2.0 h before: said 2.1 h, came 8 min earlier, inside the 80 % interval" in text
    results = database.execute(
        "select entity, outcome from outcomes join risks using (risk_id) order by 1, 2"
    ).fetchall()
    assert results == [("shop/api", "hit"), ("shop/db", "hit"), ("shop/db", "hit"), ("shop/gateway", "expired")]
    assert counted(database, "select count(*) from incidents") == 1
    kept = counted(database, "select count(*) from incident_history")
    published = read_topic(stack.settings.kafka_bootstrap, topics.INCIDENTS, kept)
    assert sorted(decode_incident(m.value()).version for m in published) == list(range(1, kept + 1))


def test_what_cannot_be_read_or_stored_is_put_aside(stack: Stack, database: psycopg.Connection[Any]) -> None:
    good = risk(0)
    bad = json.loads(encode(good))
    with stack.alerter():
        stack.send_raw(topics.RISKS, b"\xff not JSON")
        stack.send_raw(topics.RISKS, json.dumps(bad | {"predicted_at": "2026-03-02T12:00:00"}).encode())
        stack.send_raw(topics.RISKS, json.dumps(bad | {"evidence": ["a\0b"]}).encode())
        stack.send_raw(topics.OBSERVATIONS, b'{"type": "rumour"}')
        stack.send(good)
        eventually(lambda: len(stack.inbox.mails) == 1)
        eventually(lambda: counted(database, "select count(*) from audit where action = 'dead letter'") == 4)
    letters = read_topic(stack.settings.kafka_bootstrap, topics.DEAD_LETTERS, 4)
    reasons = " ".join(dict(m.headers())["reason"].decode() for m in letters)
    assert "no offset from UTC" in reasons and "'rumour'" in reasons and "JSON is malformed" in reasons
    assert counted(database, "select count(*) from risks") == 1


def test_killed_again_and_again_each_state_is_told_once(stack: Stack, database: psycopg.Connection[Any]) -> None:
    with stack.process() as first:
        stack.send(risk(0))
        eventually(lambda: len(stack.inbox.mails) == 1 and counted(database, _UNSENT) == 0, 60)
        first.send_signal(signal.SIGKILL)
    stack.inbox.stop()  # the mail server is down: what is told now waits in the outbox
    stack.send(risk(30, revision=1, opened=0), failure(110), clock(111))
    with stack.process() as second:
        eventually(lambda: counted(database, "select count(*) from outbox where last_error is not null") == 1, 60)
        second.send_signal(signal.SIGKILL)
    stack.inbox.start()
    with stack.process():
        eventually(lambda: len(stack.inbox.mails) == 2, 60)
        stack.send(recovery(130), clock(131))
        eventually(lambda: len(stack.inbox.mails) == 3 and counted(database, _UNSENT) == 0, 60)
    assert len({m["Message-ID"] for m in stack.inbox.mails}) == 3
    assert counted(database, "select count(*) from risks") == 2
    assert counted(database, "select count(*) from outcomes where outcome = 'hit'") == 2


_UNSENT = "select count(*) from outbox where status = 'pending'"


def test_killed_before_it_hears_that_a_mail_was_taken_it_repeats_that_mail_only(
    stack: Stack, database: psycopg.Connection[Any]
) -> None:
    with stack.process() as first:
        stack.inbox.on_mail = lambda: first.send_signal(signal.SIGKILL)
        stack.send(risk(0))
        eventually(lambda: first.poll() is not None, 60)
    stack.inbox.on_mail = lambda: None
    with stack.process():
        eventually(lambda: counted(database, _UNSENT) == 0, 60)
    one, again = stack.inbox.mails
    assert one["Message-ID"] == again["Message-ID"] and one["Subject"] == again["Subject"]


def test_a_mail_server_that_says_later_gets_it_later_and_no_means_no(
    stack: Stack, database: psycopg.Connection[Any]
) -> None:
    with stack.alerter():
        stack.inbox.refuse = "451 try again later"
        stack.send(risk(0))
        eventually(lambda: counted(database, "select count(*) from outbox where attempts = 1 and status = 'pending'"))
        stack.inbox.refuse = None
        eventually(lambda: len(stack.inbox.mails) == 1)
        stack.inbox.refuse = "554 no"
        stack.send(failure(100))
        eventually(lambda: counted(database, "select count(*) from outbox where status = 'failed'"))
    assert counted(database, "select count(*) from audit where action = 'gave up ''failed'' on email'") == 1


def test_a_silence_withholds_until_it_ends(stack: Stack, database: psycopg.Connection[Any]) -> None:
    now = datetime.now(UTC)
    silence = Silence(new_id(), {"entity": "shop/db"}, now, now + timedelta(hours=1), "planned work", "ada")
    PostgresFeedback(database).add_silence(silence)
    with stack.alerter():
        stack.send(risk(0), risk(0, "shop/cache"))
        eventually(
            lambda: counted(database, "select count(*) from outbox where status = 'held' and held_for = 'silence'") == 2
        )
        eventually(lambda: len(stack.inbox.mails) == 1)
        assert "shop/cache" in stack.inbox.subjects[0]
        assert PostgresFeedback(database).end_silence(silence.silence_id, datetime.now(UTC))
        eventually(lambda: len(stack.inbox.mails) == 2, 15)
    reason = database.execute(b"select reason from audit where action = 'withhold ''opened'' on email'").fetchall()
    assert len(reason) == 1 and reason[0][0].startswith("silence: silenced by ada until")


def test_an_engineer_averts_it(stack: Stack, database: psycopg.Connection[Any]) -> None:
    with stack.alerter():
        stack.send(risk(0), clock(10))
        eventually(lambda: len(stack.inbox.mails) == 1)
        PostgresFeedback(database).add(Feedback(new_id(), None, risk(0).episode, "averted", "raised the pool", "ada"))
        eventually(lambda: len(stack.inbox.mails) == 2)
    assert "someone acted" in stack.inbox.mails[1].get_body(("plain",)).get_content()
    (outcome,) = PostgresLedger(database).outcomes_since(at(0))
    assert (outcome.outcome, outcome.resolved_at) == ("averted", at(10))
    assert PostgresLedger(database).track_record().came_true is None, "neither true nor false"


def test_one_alerter_is_active_and_another_takes_over(stack: Stack, database: psycopg.Connection[Any]) -> None:
    with stack.alerter() as first, stack.alerter():
        stack.send(risk(0))
        eventually(lambda: len(stack.inbox.mails) == 1)
        first.set()
        stack.send(failure(100))
        eventually(lambda: counted(database, "select count(*) from outbox where status = 'sent'") == 4)
    assert len(stack.inbox.mails) == 2
    assert counted(database, "select sum(next_offset) from consumer_offsets") == 2


def test_a_broker_that_lost_its_log_is_read_from_its_start(
    stack: Stack, database: psycopg.Connection[Any], tmp_path: Path
) -> None:
    with stack.alerter():
        stack.send(risk(0), risk(20, revision=1, opened=0), risk(40, revision=2, opened=0))
        eventually(lambda: counted(database, "select count(*) from risks") == 3)
    with running_broker(free_port()) as empty:
        other = stack_on(empty, stack.environment["FOREWARN_POSTGRES_URL"], stack.inbox.port, tmp_path)
        with other.alerter():
            other.send(risk(60, revision=3, opened=0))
            eventually(lambda: counted(database, "select count(*) from risks") == 4)
    assert len(stack.inbox.mails) == 1


def test_predictions_and_failures_from_a_backlog_meet(stack: Stack, database: psycopg.Connection[Any]) -> None:
    """Both are in the log before the alerter starts, in different topics and partitions."""
    stack.send(*(record for h in range(40) for record in (clock(h * 60 + 400), failure(h * 60, f"shop/s{h}"))))
    stack.send(*(risk(h * 60 - 50, f"shop/s{h}") for h in range(40)))
    with stack.alerter():
        eventually(lambda: counted(database, "select count(*) from outcomes") == 40, 20)
    assert counted(database, "select count(*) from outcomes where outcome = 'hit'") == 40
    assert counted(database, "select count(*) from failures where not predicted") == 0


def test_incidents_that_a_new_edge_shows_to_be_one_are_merged_and_told_once(
    stack: Stack, database: psycopg.Connection[Any]
) -> None:
    with stack.process() as first:
        stack.send(risk(0, "shop/mailer", ERRORS, left_hours=0.5), risk(5), clock(6))
        eventually(lambda: len(stack.inbox.mails) == 2, 60)
        database.execute(
            "insert into service_edges (client, server, last_seen) values ('shop/mailer', 'shop/db', now())"
        )
        eventually(lambda: len(stack.inbox.mails) == 3 and counted(database, _UNSENT) == 0, 60)
        first.send_signal(signal.SIGKILL)
    with stack.process():
        stack.send(risk(20, revision=1, opened=5), failure(100), clock(101))
        eventually(lambda: len(stack.inbox.mails) == 4 and counted(database, _UNSENT) == 0, 60)
    mailer, pool, merged, failed = stack.inbox.mails
    assert merged["In-Reply-To"] == pool["Message-ID"] and failed["In-Reply-To"] == mailer["Message-ID"]
    text = merged.get_body(("plain",)).get_content()
    assert "part of another incident" in text and f"incident={mailer['X-Forewarn-Incident']}" in text
    assert "connection pool reached its limit" in failed.get_body(("plain",)).get_content()
    assert counted(database, "select count(*) from audit where action = 'merged'") == 2
    assert counted(database, "select count(distinct incident_id) from incident_episodes") == 1
