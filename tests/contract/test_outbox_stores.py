"""One contract for both outboxes: PostgreSQL and memory."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from forewarn.alerting.messages import Message, message_id_of
from forewarn.alerting.situation import GroupState
from forewarn.stores.in_memory.outbox import InMemoryOutbox
from forewarn.stores.outbox import OutboxStore, PostgresOutbox

ID, OTHER = "b2f6d0f8-53f1-4f3b-8f6e-000000000001", "b2f6d0f8-53f1-4f3b-8f6e-000000000002"
BATCH = "b2f6d0f8-53f1-4f3b-8f6e-00000000000b"
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(params=["postgres", "memory"])
def outbox(request: pytest.FixtureRequest) -> Iterator[OutboxStore]:
    if request.param == "memory":
        yield InMemoryOutbox()
        return
    with psycopg.connect(request.getfixturevalue("postgres_url"), autocommit=True) as connection:
        yield PostgresOutbox(connection)


def message(
    reason: str = "opened", incident: str = ID, channel: str = "email", age: float = 60, **more: object
) -> Message:
    """A message that was written `age` seconds ago and released then, if it is on its way."""
    at = NOW - timedelta(seconds=age)
    given = {"status": "pending", "created_at": at, "released_at": at, "due": at, **more}
    sequence = int(str(given.get("sequence", 0)))
    return Message(message_id_of(incident, channel, reason, sequence), incident, 1, channel, reason, **given)  # type: ignore[arg-type]


def claimed(
    outbox: OutboxStore, channel: str = "email", mark: str | None = None, retry: float | None = None
) -> list[str]:
    """Reasons of what is claimed next, which is then marked."""
    with outbox.claim(channel) as messages:
        for m in messages if mark is not None else ():
            outbox.mark(m.message_id, mark, "why", retry)  # type: ignore[arg-type]
        return [m.reason for m in messages]


def test_what_is_on_its_way_is_not_written_again(outbox: OutboxStore) -> None:
    assert outbox.put(message())
    assert not outbox.put(replace(message(), version=2))
    outbox.put(message("failed", age=30))
    assert outbox.told(ID) == ["opened", "failed"] and outbox.told(OTHER) == []


def test_what_is_held_waits_until_it_is_released(outbox: OutboxStore) -> None:
    held = message(status="held", held_for="silence", released_at=None, why="hush", due=NOW + timedelta(hours=1))
    assert outbox.put(held) and claimed(outbox) == [] and outbox.told(ID) == [] and outbox.waiting() == [ID]
    (row,) = outbox.of([ID])[ID]
    assert (row.status, row.held_for, row.why, row.due) == ("held", "silence", "hush", NOW + timedelta(hours=1))
    assert outbox.put(replace(message(), version=3, told={"severity": "critical"}))
    (row,) = outbox.of([ID])[ID]
    assert (row.version, row.told, row.created_at) == (3, {"severity": "critical"}, held.created_at)
    assert claimed(outbox, mark="sent") == ["opened"] and outbox.waiting() == []


def test_messages_leave_in_order_and_only_once(outbox: OutboxStore) -> None:
    outbox.put(message(age=60))
    outbox.put(message("failed", age=30))
    assert claimed(outbox, "console") == []
    assert claimed(outbox) == ["opened"], "claimed without a mark: it is still there"
    assert claimed(outbox, mark="sent") == ["opened"]
    assert claimed(outbox, mark="sent") == ["failed"]
    assert claimed(outbox) == []
    assert [m.reason for m in outbox.sent(ID, "email")] == ["opened", "failed"]


def test_who_was_interrupted_is_told_so(outbox: OutboxStore) -> None:
    outbox.put(message())
    with outbox.claim("email") as (first,):
        assert not first.in_doubt
    with outbox.claim("email") as (again,):
        assert again.in_doubt
        outbox.mark(again.message_id, "pending", "refused", retry_seconds=0)
    with outbox.claim("email") as (third,):
        assert not third.in_doubt and third.attempts == 1, "a refusal leaves no doubt"


def test_a_batch_is_claimed_whole(outbox: OutboxStore) -> None:
    for incident in (ID, OTHER):
        outbox.put(message(incident=incident, batch_id=BATCH))
    outbox.put(message("failed", incident=OTHER, age=1))
    assert claimed(outbox, mark="sent") == ["opened", "opened"]
    assert claimed(outbox, mark="sent") == ["failed"]
    assert len(outbox.channel_state("email", NOW - timedelta(hours=1)).released) == 2, "a batch counts once"


def test_receipts_come_back_and_find_who_shares_them(outbox: OutboxStore) -> None:
    for incident in (ID, OTHER):
        outbox.put(message(incident=incident, batch_id=BATCH))
    with outbox.claim("email") as messages:
        for m in messages:
            outbox.mark(m.message_id, "sent", receipt={"ts": "1.2"})
    assert [m.receipt for m in outbox.sent(ID, "email")] == [{"ts": "1.2"}]
    assert sorted(outbox.sharing({"ts": "1.2"}, "email")) == [ID, OTHER]
    assert sorted(outbox.sharing({"ts": "1.2"})) == [ID, OTHER]
    assert outbox.sharing({"ts": "1.2"}, "console") == [] == outbox.sharing({"ts": "1.3"})


def test_what_waits_for_a_retry_holds_back_its_own_incident_only(outbox: OutboxStore) -> None:
    outbox.put(message())
    outbox.put(message("failed", age=30))
    outbox.put(message("failed", incident=OTHER, age=10))
    assert claimed(outbox, mark="pending", retry=3600) == ["opened"]
    with outbox.claim("email") as (found,):
        assert found.incident_id == OTHER
        outbox.mark(found.message_id, "sent")
    assert claimed(outbox) == []


def test_what_failed_for_good_lets_the_next_pass(outbox: OutboxStore) -> None:
    outbox.put(message())
    outbox.put(message("failed", age=30))
    claimed(outbox, mark="failed")
    with outbox.claim("email") as (found,):
        assert (found.reason, found.attempts) == ("failed", 0)


def test_attempts_are_counted_and_what_is_given_back_is_none(outbox: OutboxStore) -> None:
    outbox.put(message())
    claimed(outbox, mark="pending", retry=0)
    claimed(outbox, mark="held")
    (row,) = outbox.of([ID])[ID]
    assert (row.attempts, row.status, row.held_for, row.why) == (1, "held", "silence", "why")


def test_what_was_dropped_was_not_told_and_can_come_again(outbox: OutboxStore) -> None:
    outbox.put(message())
    claimed(outbox, mark="dropped")
    assert outbox.told(ID) == []
    assert outbox.put(message(age=0)) and outbox.told(ID) == ["opened"]
    assert outbox.of([ID])[ID][0].created_at == NOW


def test_groups_say_since_when_they_wait_and_when_they_were_told(outbox: OutboxStore) -> None:
    outbox.put(message(group_key="g"))
    outbox.put(message(incident=OTHER, group_key="g", status="held", released_at=None, age=30))
    outbox.put(message("failed", group_key="old", age=4000))
    assert outbox.groups(NOW - timedelta(hours=1)) == {
        "g": GroupState(NOW - timedelta(seconds=30), NOW - timedelta(seconds=60))
    }


def test_digests_are_counted_apart(outbox: OutboxStore) -> None:
    outbox.put(message(held_for="rate_limit", batch_id=BATCH, age=20))
    outbox.put(message(incident=OTHER, status="held", held_for="rate_limit", released_at=None, age=10))
    state = outbox.channel_state("email", NOW - timedelta(hours=1))
    assert state.released == () and state.digest_at == NOW - timedelta(seconds=20)
    assert state.rate_held_at == NOW - timedelta(seconds=10)


def test_the_last_end_of_each_kind(outbox: OutboxStore) -> None:
    told = {"entity": "shop/db", "mode": "disk_full"}
    outbox.put(message("resolved", told=told, age=50))
    outbox.put(message("expired", incident=OTHER, told=told, age=20))
    outbox.put(message("failed", told=told, age=5))
    assert outbox.ended(NOW - timedelta(hours=1)) == {("email", "shop/db", "disk_full"): NOW - timedelta(seconds=20)}


def test_an_error_while_sending_leaves_the_message_there(outbox: OutboxStore) -> None:
    outbox.put(message())
    with pytest.raises(RuntimeError), outbox.claim("email"):
        raise RuntimeError("the process broke")
    assert claimed(outbox) == ["opened"]


def test_two_senders_never_claim_the_same_message(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as one, psycopg.connect(postgres_url, autocommit=True) as two:
        PostgresOutbox(one).put(message())
        PostgresOutbox(one).put(message("failed", age=30))
        with PostgresOutbox(one).claim("email") as first, PostgresOutbox(two).claim("email") as second:
            assert [m.reason for m in first] == ["opened"]
            assert second == [], "nor one that has to wait for it"


def test_a_message_of_before_the_clock_was_set_back_does_not_wait_for_its_time(outbox: OutboxStore) -> None:
    outbox.put(message(age=-3600))
    assert claimed(outbox, mark="sent") == ["opened"]
    assert claimed(outbox) == []
