"""Where a consumer group stands in the log, stored in the transaction that stores what it consumed."""

from collections.abc import Mapping
from typing import NamedTuple

import psycopg

_READ = "select topic, partition, next_offset from consumer_offsets where consumer_group = %s"
_ADVANCE = """
insert into consumer_offsets (consumer_group, topic, partition, next_offset) values (%s, %s, %s, %s)
on conflict (consumer_group, topic, partition) do update set next_offset = excluded.next_offset
where consumer_offsets.next_offset = %s
"""


class Place(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class Overtaken(Exception):  # noqa: N818
    """Another member of the group has stored this part of the log; roll back and read the offsets again."""


def read_offsets(connection: psycopg.Connection, group: str) -> dict[Place, int]:
    """The next offset of each partition that the group has consumed from."""
    rows = connection.execute(_READ, (group,)).fetchall()
    return {Place(topic, partition): next_offset for topic, partition, next_offset in rows}


def advance(
    connection: psycopg.Connection, group: str, expected: Mapping[Place, int | None], reached: Mapping[Place, int]
) -> None:
    """Store the offsets reached, in the caller's transaction.

    `expected` is what was stored when the group's member began (None: nothing). Raises Overtaken where it is something
    else now: two members that both believe to own a partition cannot both store it.
    """
    for place in sorted(reached):  # one order everywhere: no deadlock
        stored = connection.execute(_ADVANCE, (group, *place, reached[place], expected.get(place)))
        if stored.rowcount != 1:
            raise Overtaken(f"{place.topic}[{place.partition}] is no longer at {expected.get(place)}")
