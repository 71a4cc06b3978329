"""One contract for both stores of feedback: PostgreSQL and memory."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from incident_records import at
from test_incident_stores import ID, incident

from forewarn.stores.feedback import Feedback, FeedbackStore, PostgresFeedback, Silence, new_id
from forewarn.stores.in_memory.feedback import InMemoryFeedback

ONE = Feedback("7c1c3c8e-0000-4000-8000-000000000001", ID, None, "confirmed", "seen it, too", "ada", at(5))


@pytest.fixture(params=["postgres", "memory"])
def store(request: pytest.FixtureRequest) -> Iterator[FeedbackStore]:
    if request.param == "memory":
        yield InMemoryFeedback()
        return
    with psycopg.connect(request.getfixturevalue("postgres_url")) as connection:
        yield PostgresFeedback(connection)


def silence(**matcher: str) -> Silence:
    return Silence(new_id(), matcher, at(0), at(60), "planned work", "ada")


def test_a_verdict_is_kept_once_and_handled_once(store: FeedbackStore) -> None:
    assert store.add(ONE) and not store.add(ONE)
    assert store.of(ID) == [ONE] == store.unhandled() and store.latest([ID]) == {ID: ONE}
    store.mark_handled(ONE.feedback_id)
    assert store.unhandled() == [] and store.of(ID) == [ONE]


@pytest.mark.parametrize("wrong", [replace(ONE, verdict="maybe"), replace(ONE, incident_id=None)])
def test_a_verdict_that_says_nothing_is_refused(store: FeedbackStore, wrong: Feedback) -> None:
    with pytest.raises(ValueError, match="verdict"):
        store.add(wrong)


def test_silences_are_on_for_their_time(store: FeedbackStore) -> None:
    one, longer = silence(entity="shop/db"), replace(silence(mode="m"), ends_at=at(90))
    store.add_silence(longer)
    store.add_silence(one)
    assert store.silences(at(0)) == [one, longer]
    assert store.silences(at(60)) == [longer]
    assert store.silences(at(-1)) == [] and len(store.silences()) == 2
    assert store.end_silence(longer.silence_id, at(10)) and not store.end_silence(longer.silence_id, at(10))
    assert store.silences(at(10)) == [one]


@pytest.mark.parametrize("matcher", [{}, {"colour": "red"}])
def test_a_silence_of_everything_or_nothing_is_refused(store: FeedbackStore, matcher: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="silence"):
        store.add_silence(silence(**matcher))
    with pytest.raises(ValueError, match="end after"):
        store.add_silence(replace(silence(mode="m"), ends_at=at(0)))


def test_a_silence_matches_by_equal_values_while_it_is_on() -> None:
    assert silence(entity="shop/db", mode="m").matches(incident(), at(0))
    assert not silence(entity="shop/db", mode="other").matches(incident(), at(0))
    assert not silence(entity="shop/db").matches(incident(), at(60))
