"""The outbox in PostgreSQL: what is decided about messages, and what became of them; sent until a channel took them."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from forewarn.alerting.messages import TOLD_ONCE, Message, message_id_of
from forewarn.alerting.situation import TOLD, ChannelState, GroupState
from forewarn.incidents.paging import CLOSINGS

__all__ = ["Message", "OutboxStore", "PostgresOutbox", "message_id_of"]


class OutboxStore(Protocol):
    """What an outbox can do."""

    def put(self, message: Message) -> bool:
        """Enter what was decided; False where the message is on its way already and stays as it is."""

    def of(self, incident_ids: Sequence[str]) -> dict[str, list[Message]]:
        """All messages about these incidents, oldest first."""

    def told(self, incident_id: str) -> list[str]:
        """States of an incident that were told, or are being told, on any channel, oldest first."""

    def waiting(self, until: datetime | None = None) -> list[str]:
        """Incidents of which something is held; with a time, only what is due by then."""

    def groups(self, since: datetime) -> dict[str, GroupState]:
        """Groups of which something is held, or was told since then."""

    def channel_state(self, channel: str, since: datetime) -> ChannelState:
        """What was released to a channel since then; a batch counts once, a digest not at all."""

    def ended(self, since: datetime) -> dict[tuple[str, str, str], datetime]:
        """(channel, entity, mode) and when its last end since then was told."""

    def sent(self, incident_id: str, channel: str) -> list[Message]:
        """What a channel has taken about an incident, oldest first."""

    def sharing(self, receipt: Mapping[str, Any], channel: str | None = None) -> list[str]:
        """Incidents that a channel (None: any) was told of under this receipt."""

    def told_open(self, channel: str) -> list[Message]:
        """The last thing that a channel was told of each incident, where that is not its end."""

    def claim(self, channel: str) -> contextlib.AbstractContextManager[list[Message]]:
        """What is due next, for this caller alone while the context lasts: one message, a batch, or nothing.

        Messages about one incident leave a channel in the order in which they were written. `in_doubt` is set where a
        process ended while it was sending.
        """

    def mark(
        self, message_id: str, status: str, error: str | None = None, retry_seconds: float | None = None,
        receipt: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """What became of a claimed message: 'sent', 'pending' (again after `retry_seconds`), 'held' (to be decided
        anew), 'failed', 'dropped'. Every mark but 'held' counts as an attempt."""


_COLUMNS = (
    "message_id::text, incident_id::text, version, channel, reason, status, attempts, created_at, last_error,"
    " sequence, route, group_key, held_for, why, next_attempt as due, released_at, sent_at, batch_id::text, told,"
    " receipt, attempt_started_at is not null as in_doubt"
)
_PUT = """
insert into outbox (message_id, incident_id, version, channel, reason, sequence, status, next_attempt, created_at,
    route, group_key, held_for, why, released_at, batch_id, told)
values (%(message_id)s, %(incident_id)s, %(version)s, %(channel)s, %(reason)s, %(sequence)s, %(status)s,
    coalesce(%(due)s, clock_timestamp()), coalesce(%(created_at)s, clock_timestamp()), %(route)s, %(group_key)s,
    %(held_for)s, %(why)s, %(released_at)s, %(batch_id)s, %(told)s)
on conflict (message_id) do update set version = excluded.version, status = excluded.status,
    next_attempt = excluded.next_attempt, route = excluded.route, group_key = excluded.group_key,
    held_for = excluded.held_for, why = excluded.why, released_at = excluded.released_at,
    batch_id = excluded.batch_id, told = excluded.told,
    created_at = case when outbox.status = 'dropped' then excluded.created_at else outbox.created_at end
where outbox.status in ('held', 'dropped')
"""
# What was written later than now was written before somebody set the clock back: it does not wait until then.
_NEXT = """
select message_id::text, batch_id::text from outbox o
where status = 'pending' and channel = %s
and (next_attempt <= clock_timestamp() or created_at > clock_timestamp() + interval '1 min')
and not exists (
    select from outbox earlier where earlier.incident_id = o.incident_id and earlier.channel = o.channel
    and earlier.status = 'pending' and (earlier.created_at, earlier.message_id) < (o.created_at, o.message_id))
order by created_at, message_id limit 1 for update skip locked
"""
_MARK = """
update outbox set status = %(status)s, last_error = %(error)s,
    attempts = attempts + case when %(status)s = 'held' then 0 else 1 end,
    held_for = case when %(status)s = 'held' then 'silence' else held_for end,
    why = case when %(status)s in ('held', 'dropped') then coalesce(%(error)s, why) else why end,
    next_attempt = clock_timestamp() + make_interval(secs => coalesce(%(retry)s, 0)),
    sent_at = case when %(status)s = 'sent' then clock_timestamp() end,
    attempt_started_at = null, receipt = coalesce(%(receipt)s, receipt)
where message_id = %(message_id)s
"""
_RELEASED = """
select max(released_at) from outbox
where channel = %s and released_at > %s and status = any(%s) and held_for is distinct from 'rate_limit'
    and reason <> 'updated'
group by coalesce(batch_id, message_id) order by 1
"""
_DIGESTS = """
select max(released_at) filter (where status = any(%(told)s)), min(created_at) filter (where status = 'held')
from outbox where channel = %(channel)s and held_for = 'rate_limit'
"""
_GROUPS = """
select group_key, min(created_at) filter (where status = 'held'), max(released_at) filter (where status = any(%(told)s))
from outbox where group_key <> '' and (status = 'held' or released_at > %(since)s) group by group_key
"""
_ENDED = """
select channel, told->>'entity', told->>'mode', max(released_at) from outbox
where reason = any(%(closings)s) and status = any(%(told)s) and released_at > %(since)s and told ? 'entity'
group by 1, 2, 3
"""


class PostgresOutbox:
    """OutboxStore on a connection. `claim` runs a transaction of its own, so that the lock ends with the process."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def put(self, message: Message) -> bool:
        """See OutboxStore."""
        m = message
        row = {
            "message_id": m.message_id, "incident_id": m.incident_id, "version": m.version, "channel": m.channel,
            "reason": m.reason, "sequence": m.sequence, "status": m.status, "due": m.due, "created_at": m.created_at,
            "route": m.route, "group_key": m.group_key, "held_for": m.held_for, "why": m.why.replace("\0", ""),
            "released_at": m.released_at, "batch_id": m.batch_id, "told": Jsonb(dict(m.told)),
        }  # fmt: skip
        return self._connection.execute(_PUT, row).rowcount == 1

    def of(self, incident_ids: Sequence[str]) -> dict[str, list[Message]]:
        """See OutboxStore."""
        found: dict[str, list[Message]] = {}
        for message in self._messages("incident_id = any(%s::uuid[])", (list(incident_ids),)):
            found.setdefault(message.incident_id, []).append(message)
        return found

    def told(self, incident_id: str) -> list[str]:
        """See OutboxStore."""
        rows = self._connection.execute(
            b"select reason from outbox where incident_id = %s and status = any(%s) and reason = any(%s)"
            b" group by reason order by min(created_at)",
            (incident_id, list(TOLD), list(TOLD_ONCE)),
        )
        return [reason for (reason,) in rows]

    def waiting(self, until: datetime | None = None) -> list[str]:
        """See OutboxStore."""
        rows = self._connection.execute(
            b"select distinct incident_id::text from outbox where status = 'held'"
            b" and (%s::timestamptz is null or next_attempt <= %s)",
            (until, until),
        )
        return [incident_id for (incident_id,) in rows]

    def groups(self, since: datetime) -> dict[str, GroupState]:
        """See OutboxStore."""
        rows = self._connection.execute(_GROUPS, {"since": since, "told": list(TOLD)})
        return {key: GroupState(held, flushed) for key, held, flushed in rows}

    def channel_state(self, channel: str, since: datetime) -> ChannelState:
        """See OutboxStore."""
        released = self._connection.execute(_RELEASED, (channel, since, list(TOLD))).fetchall()
        digest = self._connection.execute(_DIGESTS, {"channel": channel, "told": list(TOLD)}).fetchone()
        return ChannelState(tuple(at for (at,) in released), *(digest or (None, None)))

    def ended(self, since: datetime) -> dict[tuple[str, str, str], datetime]:
        """See OutboxStore."""
        parameters = {"closings": list(CLOSINGS), "told": list(TOLD), "since": since}
        return {
            (channel, entity, mode): at for channel, entity, mode, at in self._connection.execute(_ENDED, parameters)
        }

    def sent(self, incident_id: str, channel: str) -> list[Message]:
        """See OutboxStore."""
        return self._messages("incident_id = %s and channel = %s and status = 'sent'", (incident_id, channel))

    def sharing(self, receipt: Mapping[str, Any], channel: str | None = None) -> list[str]:
        """See OutboxStore."""
        rows = self._connection.execute(
            b"select distinct incident_id::text from outbox where channel = coalesce(%s, channel) and status = 'sent'"
            b" and receipt = %s",
            (channel, Jsonb(dict(receipt))),
        )
        return [incident_id for (incident_id,) in rows]

    def told_open(self, channel: str) -> list[Message]:
        """See OutboxStore."""
        last: dict[str, Message] = {}
        condition = (
            "channel = %s and status = 'sent'"
            " and incident_id in (select incident_id from incidents where state in ('predicted', 'firing'))"
        )
        for message in self._messages(condition, (channel,)):
            last[message.incident_id] = message
        return [m for m in last.values() if m.reason not in CLOSINGS]

    @contextlib.contextmanager
    def claim(self, channel: str) -> Iterator[list[Message]]:
        """See OutboxStore."""
        messages = self._begin(channel)
        ids = [m.message_id for m in messages]
        with self._connection.transaction():
            locked = self._connection.execute(
                b"select message_id from outbox where message_id = any(%s::uuid[]) and status = 'pending'"
                b" for update skip locked",
                (ids,),
            ).fetchall()
            yield messages if len(locked) == len(ids) else []

    def mark(
        self, message_id: str, status: str, error: str | None = None, retry_seconds: float | None = None,
        receipt: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """See OutboxStore."""
        row = {
            "status": status, "error": error, "retry": retry_seconds, "message_id": message_id,
            "receipt": Jsonb(dict(receipt)) if receipt is not None else None,
        }  # fmt: skip
        self._connection.execute(_MARK, row)

    def _begin(self, channel: str) -> list[Message]:
        """What is due next, noted as being sent before it is: a kill in between can be told afterwards."""
        with self._connection.transaction():
            first = self._connection.execute(_NEXT, (channel,)).fetchone()
            if first is None:
                return []
            condition = "(message_id = %s or batch_id = %s) and channel = %s and status = 'pending'"
            messages = self._messages(condition, (*first, channel))
            self._connection.execute(
                b"update outbox set attempt_started_at = clock_timestamp() where message_id = any(%s::uuid[])",
                ([m.message_id for m in messages],),
            )
            return messages

    def _messages(self, condition: str, parameters: Sequence[Any]) -> list[Message]:
        """`condition` is written in this module, never by anybody else."""
        cursor = self._connection.cursor(row_factory=class_row(Message))
        query = f"select {_COLUMNS} from outbox where {condition} order by created_at, message_id"  # noqa: S608
        return cursor.execute(query.encode(), parameters).fetchall()
