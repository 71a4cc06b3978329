"""The log's own promises on a real broker, and the fence that keeps two members apart."""

import psycopg
import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition
from servers import free_port

from forewarn.stores.log import consumer, create_topics, producer, start_offset
from forewarn.stores.offsets import Overtaken, Place, advance, read_offsets
from forewarn.telemetry import topics


def test_topics_are_made_once_with_their_partitions(own_broker: str) -> None:
    create_topics(own_broker, 3)
    create_topics(own_broker, 3)
    found = producer(own_broker).list_topics(timeout=5).topics
    assert {name: len(found[name].partitions) for name in topics.ALL} == dict.fromkeys(topics.ALL, 3)


def test_no_broker_says_what_to_do() -> None:
    with pytest.raises(TimeoutError, match="FOREWARN_KAFKA_BOOTSTRAP"):
        create_topics(f"127.0.0.1:{free_port()}", 1, wait_seconds=0.1)


def test_a_log_that_was_started_anew_is_read_from_its_first_message(own_broker: str) -> None:
    create_topics(own_broker, 1)
    to = producer(own_broker)
    to.produce(topics.LOGS, b"x")
    assert to.flush(5) == 0
    member, partition = consumer(own_broker, "g", [topics.LOGS]), TopicPartition(topics.LOGS, 0)
    assert [start_offset(member, partition, stored) for stored in (None, 0, 1, 7)] == [OFFSET_BEGINNING, 0, 1, 0]
    member.close()


def test_only_one_of_two_members_can_store_the_same_part(postgres_url: str) -> None:
    place = Place("t", 0)
    with psycopg.connect(postgres_url) as first, psycopg.connect(postgres_url) as second:
        advance(first, "g", {}, {place: 5})
        first.commit()
        with pytest.raises(Overtaken):
            advance(second, "g", {}, {place: 5})
        second.rollback()
        advance(second, "g", {place: 5}, {place: 9})
        second.commit()
        with pytest.raises(Overtaken):
            advance(first, "g", {place: 5}, {place: 7})
        first.rollback()
        assert read_offsets(first, "g") == {place: 9}
