"""State of the connector in PostgreSQL: with its offsets in one transaction; and the log templates it has found."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import psycopg

from forewarn.stores.offsets import Place, advance
from forewarn.telemetry.connectors.templates import Template

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SAVE = """
insert into connector_states (topic, partition, entity, state) values (%s, %s, %s, %s)
on conflict (topic, partition, entity) do update set state = excluded.state
"""
_TEMPLATE = """
insert into log_templates as t (entity, template_id, template, severity, example, first_seen, last_seen, count, errors)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (entity, template_id) do update
set template = excluded.template, first_seen = least(t.first_seen, excluded.first_seen),
    last_seen = greatest(t.last_seen, excluded.last_seen),
    count = greatest(t.count, excluded.count), errors = greatest(t.errors, excluded.errors)
"""


def read_states(connection: psycopg.Connection, place: Place) -> dict[str, bytes]:
    """What was saved for a partition, by entity."""
    rows = connection.execute(
        "select entity, state from connector_states where topic = %s and partition = %s", place
    ).fetchall()
    return {entity: bytes(state) for entity, state in rows}


def save(
    connection: psycopg.Connection,
    group: str,
    expected: Mapping[Place, int | None],
    reached: Mapping[Place, int],
    states: Mapping[Place, Mapping[str, bytes]],
    forgotten: Mapping[Place, Iterable[str]],
    templates: Iterable[tuple[str, Template]],
) -> None:
    """Store offsets and the states that belong to them, or nothing. Raises psycopg.Error, Overtaken."""
    with connection.transaction(), connection.cursor() as cursor:
        advance(connection, group, expected, reached)
        gone = [(*place, entity) for place, entities in forgotten.items() for entity in entities]
        cursor.executemany("delete from connector_states where topic = %s and partition = %s and entity = %s", gone)
        cursor.executemany(_SAVE, [(*place, *row) for place, found in states.items() for row in sorted(found.items())])
        cursor.executemany(_TEMPLATE, [_row(entity, template) for entity, template in templates])


def _row(entity: str, t: Template) -> tuple[object, ...]:
    first, last = (_EPOCH + timedelta(microseconds=time // 1000) for time in (t.first_seen, t.last_seen))
    return entity, t.id, t.text, t.severity, t.example, first, last, t.count, t.errors
