"""One contract for both outboxes: PostgreSQL and memory."""

from collections.abc import Iterator

import psycopg
import pytest

from forewarn.stores.in_memory.outbox import InMemoryOutbox
from forewarn.stores.outbox import OutboxStore, PostgresOutbox, message_id_of

ID, OTHER = "b2f6d0f8-53f1-4f3b-8f6e-000000000001", "b2f6d0f8-53f1-4f3b-8f6e-000000000002"


@pytest.fixture(params=["postgres", "memory"])
def outbox(request: pytest.FixtureRequest) -> Iterator[OutboxStore]:
    if request.param == "memory":
        yield InMemoryOutbox()
        return
    with psycopg.connect(request.getfixturevalue("postgres_url"), autocommit=True) as connection:
        yield PostgresOutbox(connection)


def claimed(outbox: OutboxStore, *channels: str, mark: str | None = None, retry: float | None = None) -> str | None:
    """Reason of the message that is claimed next, which is then marked."""
    with outbox.claim(channels or ("email",)) as message:
        if message is not None and mark is not None:
            outbox.mark(message.message_id, mark, "why", retry)
        return message.reason if message else None


def test_each_state_is_written_once_a_channel(outbox: OutboxStore) -> None:
    assert outbox.enqueue(ID, 1, "opened", ["email", "console"]) == 2
    assert outbox.enqueue(ID, 2, "opened", ["email", "console"]) == 0
    outbox.enqueue(ID, 3, "failed", ["email"])
    assert outbox.told(ID) == ["opened", "failed"] and outbox.told(OTHER) == []


def test_messages_leave_in_order_and_only_once(outbox: OutboxStore) -> None:
    outbox.enqueue(ID, 1, "opened", ["email"])
    outbox.enqueue(ID, 2, "failed", ["email"])
    assert claimed(outbox, "console") is None
    assert claimed(outbox) == "opened", "claimed without a mark: it is still there"
    assert claimed(outbox, mark="sent") == "opened"
    assert claimed(outbox, mark="sent") == "failed"
    assert claimed(outbox) is None
    assert [m.message_id for m in outbox.sent(ID, "email")] == [
        message_id_of(ID, "email", r) for r in ("opened", "failed")
    ]


def test_what_waits_for_a_retry_holds_back_its_own_incident_only(outbox: OutboxStore) -> None:
    outbox.enqueue(ID, 1, "opened", ["email"])
    outbox.enqueue(ID, 2, "failed", ["email"])
    outbox.enqueue(OTHER, 1, "failed", ["email"])
    assert claimed(outbox, mark="pending", retry=3600) == "opened"
    with outbox.claim(["email"]) as message:
        assert message is not None and message.incident_id == OTHER
        outbox.mark(message.message_id, "sent")
    assert claimed(outbox) is None and outbox.waiting(ID, "email") == 2


def test_what_failed_for_good_lets_the_next_pass(outbox: OutboxStore) -> None:
    outbox.enqueue(ID, 1, "opened", ["email"])
    outbox.enqueue(ID, 2, "failed", ["email"])
    claimed(outbox, mark="failed")
    with outbox.claim(["email"]) as message:
        assert message is not None and (message.reason, message.attempts) == ("failed", 0)


def test_attempts_are_counted_and_silence_is_none(outbox: OutboxStore) -> None:
    outbox.enqueue(ID, 1, "opened", ["email"])
    claimed(outbox, mark="pending", retry=0)
    claimed(outbox, mark="silenced", retry=0)
    with outbox.claim(["email"]) as message:
        assert message is not None
        assert (message.attempts, message.status, message.last_error) == (1, "silenced", "why")


def test_what_was_dropped_was_not_told(outbox: OutboxStore) -> None:
    outbox.enqueue(ID, 1, "opened", ["email"])
    claimed(outbox, mark="dropped")
    assert outbox.told(ID) == [] and outbox.waiting(ID, "email") == 0


def test_an_error_while_sending_leaves_the_message_there(outbox: OutboxStore) -> None:
    outbox.enqueue(ID, 1, "opened", ["email"])
    with pytest.raises(RuntimeError), outbox.claim(["email"]):
        raise RuntimeError("the process broke")
    assert claimed(outbox) == "opened"


def test_two_senders_never_claim_the_same_message(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as one, psycopg.connect(postgres_url, autocommit=True) as two:
        PostgresOutbox(one).enqueue(ID, 1, "opened", ["email"])
        PostgresOutbox(one).enqueue(ID, 2, "failed", ["email"])
        with PostgresOutbox(one).claim(["email"]) as first, PostgresOutbox(two).claim(["email"]) as second:
            assert first is not None and first.reason == "opened"
            assert second is None, "nor one that has to wait for it"
