"""Responses and their states: proposed, approved or declined or expired, running, succeeded or failed or unknown."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from forewarn.alerting.responses.deciding import Start
from forewarn.incidents.episodes import OPEN_STATES
from forewarn.stores.audit import PostgresAudit
from forewarn.telemetry.samples import namespace_of

PENDING = ("proposed", "approved")
STATES = (*PENDING, "declined", "expired", "superseded", "running", "succeeded", "failed", "unknown", "dry_run")
LONGEST_NOTE = 500


class NotPending(ValueError):  # noqa: N818  # it is an answer about a state, not a fault
    """It cannot be decided any more; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What shall be asked for, or is to be done by itself."""

    response_id: str
    response: str
    kind: str
    incident_id: str
    entity: str
    automatic: bool
    averts: bool
    plan: Mapping[str, Any]
    facts: Mapping[str, str]
    why: str
    valid: timedelta


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A row of `responses`. Times are wall clock, but `acted_at`."""

    response_id: str
    response: str
    kind: str
    incident_id: str
    entity: str
    status: str
    automatic: bool
    averts: bool
    plan: dict[str, Any]
    facts: dict[str, str]
    why: str
    proposed_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    note: str
    held_for: str | None
    held_why: str
    started_at: datetime | None
    ended_at: datetime | None
    outcome: str
    output: str

    @property
    def pending(self) -> bool:
        """Whether it may still run."""
        return self.status in PENDING


_COLUMNS = (
    "response_id::text, response, kind, incident_id::text, entity, status, automatic, averts, plan, facts, why,"
    " proposed_at, expires_at, decided_by, decided_at, note, held_for, held_why, started_at, ended_at, outcome, output"
)
_PROPOSE = """
insert into responses (response_id, response, kind, incident_id, entity, status, automatic, averts, plan, facts, why,
                       expires_at, decided_by, decided_at, outcome)
values (%(id)s, %(response)s, %(kind)s, %(incident)s, %(entity)s, %(status)s, %(automatic)s, %(averts)s, %(plan)s,
        %(facts)s, %(why)s, clock_timestamp() + %(valid)s, %(by)s, case when %(by)s::text is null then null
        else clock_timestamp() end, %(outcome)s)
on conflict do nothing
"""
_DECIDE = f"""
update responses r set status = %(status)s, decided_by = %(by)s, decided_at = clock_timestamp(), note = %(note)s
where response_id = %(id)s and status = 'proposed' and expires_at > clock_timestamp()
and exists (select from incidents i where i.incident_id = r.incident_id and i.state = any(%(open)s))
returning {_COLUMNS}
"""  # noqa: S608 (constants)
_CLAIM = f"""
update responses r set status = 'running', term = %(term)s, started_at = clock_timestamp(), held_for = null,
    held_why = ''
where response_id = %(id)s and status = 'approved' and expires_at > clock_timestamp()
and exists (select from incidents i where i.incident_id = r.incident_id and i.state = any(%(open)s))
and not exists (select from responses o where o.entity = r.entity and o.status = 'running')
returning {_COLUMNS}
"""  # noqa: S608 (constants)
_FINISH = """
update responses set status = %(status)s, ended_at = clock_timestamp(), outcome = %(outcome)s, output = %(output)s,
    acted_at = (select at from watermarks where namespace = %(namespace)s)
where response_id = %(id)s and term = %(term)s and status in ('running', 'unknown')
returning incident_id::text, response
"""
_ACTED = """
select e.episode::text, min(r.acted_at) from responses r join incident_episodes e using (incident_id)
where e.episode = any(%s::uuid[]) and r.status = 'succeeded' and r.averts and r.acted_at is not null group by e.episode
"""


class PostgresResponses:
    """Responses on a connection; the caller begins and ends the transaction. Each change is in the audit."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._audit = PostgresAudit(connection)

    def propose(self, proposal: Proposal, status: str = "proposed", outcome: str = "") -> bool:
        """Enter it once for each incident; False where it is there. status: 'dry_run', 'declined' where it ends so."""
        p = proposal
        by = "forewarn" if status == "declined" else "automatic" if status == "approved" else None
        values = {
            "id": p.response_id, "response": p.response, "kind": p.kind, "incident": p.incident_id,
            "entity": p.entity, "status": status, "automatic": p.automatic, "averts": p.averts, "plan": Jsonb(p.plan),
            "facts": Jsonb(dict(p.facts)), "why": p.why, "valid": p.valid, "by": by, "outcome": outcome,
        }  # fmt: skip
        if self._connection.execute(_PROPOSE.encode(), values).rowcount != 1:
            return False
        verb = {"dry_run": "dry run of", "declined": "withhold", "approved": "approve"}.get(status, "propose")
        reason = "; ".join(text for text in (p.why, outcome) if text)
        self._note("responses", verb, p.incident_id, p.response, p.response_id, reason)
        return True

    def decide(self, response_id: str, approve: bool, who: str, note: str = "") -> StoredResponse:
        """Approve or decline what is proposed; of two who do it at once, one does. Raises NotPending."""
        status = "approved" if approve else "declined"
        values = {"status": status, "by": who[:200], "note": note[:LONGEST_NOTE], "id": _uuid(response_id),
                  "open": list(OPEN_STATES)}  # fmt: skip
        row = self._cursor().execute(_DECIDE.encode(), values).fetchone()
        if row is None:
            raise NotPending(self._why_not(response_id))
        verb = "approve" if approve else "decline"
        self._note(who, verb, row.incident_id, row.response, row.response_id, row.note)
        return row

    def _why_not(self, response_id: str) -> str:
        row = self.get(response_id)
        if row is None:
            return f"there is no response {response_id}: `forewarn responses list` shows those that there are"
        if row.status == "proposed":
            return f"'{row.response}' cannot be decided any more: its incident is over, or its time is up"
        by = f" by {row.decided_by}" if row.decided_by else ""
        return f"'{row.response}' is {row.status}{by} already"

    def get(self, response_id: str) -> StoredResponse | None:
        """One of them."""
        found = self._select("where response_id = %(id)s", id=_uuid(response_id))
        return found[0] if found else None

    def pending(self) -> list[StoredResponse]:
        """Proposed and approved ones, oldest first."""
        return self._select("where status in ('proposed', 'approved') order by proposed_at, response_id")

    def of_incident(self, incident_id: str) -> list[StoredResponse]:
        """All about an incident, newest first."""
        return self._select("where incident_id = %(id)s order by proposed_at desc, response limit 50",
                            id=_uuid(incident_id))  # fmt: skip

    def newest(self, limit: int = 50, status: str | None = None) -> list[StoredResponse]:
        """The last ones, newest first."""
        chosen = "where %(status)s::text is null or status = %(status)s order by proposed_at desc, response limit %(n)s"
        return self._select(chosen, status=status, n=limit)

    def known(self, incident_ids: Sequence[str]) -> set[tuple[str, str, bool]]:
        """(response, incident, whether it is a dry run) of all that need not be proposed again."""
        rows = self._connection.execute(
            b"select response, incident_id::text, status = 'dry_run' from responses"
            b" where incident_id = any(%s::uuid[]) and status <> 'superseded'",
            (list(incident_ids),),
        )
        return set(rows.fetchall())

    def starts(self, since: timedelta) -> list[Start]:
        """What ran within this time or runs now."""
        rows = self._connection.execute(
            b"select response, entity, started_at, coalesce(ended_at, started_at), status = 'running' from responses"
            b" where started_at is not null"
            b" and (status = 'running' or coalesce(ended_at, started_at) > clock_timestamp() - %s)",
            (since,),
        )
        return [Start(*row) for row in rows]

    def now(self) -> datetime:
        """The clock by which responses are timed: PostgreSQL's."""
        row = self._connection.execute(b"select clock_timestamp()").fetchone()
        assert row is not None
        at: datetime = row[0]
        return at

    def hold(self, row: StoredResponse, code: str | None, why: str) -> None:
        """Note why it does not run yet; None: nothing holds it."""
        if (row.held_for, row.held_why) == (code, why):
            return
        self._connection.execute(
            b"update responses set held_for = %s, held_why = %s where response_id = %s",
            (code, why, row.response_id),
        )
        if code is not None and code != row.held_for:
            self._note("responses", "hold", row.incident_id, row.response, row.response_id, why)

    def end(self, row: StoredResponse, status: str, why: str) -> bool:
        """'expired' or 'superseded' before it ran; False where it has been decided or begun meanwhile."""
        done = self._connection.execute(
            b"update responses set status = %s, outcome = %s, ended_at = clock_timestamp(), held_for = null"
            b" where response_id = %s and status = %s",
            (status, why, row.response_id, row.status),
        )
        if done.rowcount:
            self._note("responses", status, row.incident_id, row.response, row.response_id, why)
        return done.rowcount == 1

    def claim(self, row: StoredResponse, term: str) -> StoredResponse | None:
        """Mark it as running, before it is begun; None where it may not run any more. It is never claimed twice."""
        values = {"id": row.response_id, "term": term, "open": list(OPEN_STATES)}
        claimed = self._cursor().execute(_CLAIM.encode(), values).fetchone()
        if claimed is not None:
            reason = f"approved by {row.decided_by}"
            self._note("responses", "begin", row.incident_id, row.response, row.response_id, reason)
        return claimed

    def finish(self, row: StoredResponse, term: str, status: str, outcome: str, output: str) -> bool:
        """'succeeded', 'failed' or 'unknown'; False where another process has said so already."""
        namespace = namespace_of(row.entity)
        values = {"id": row.response_id, "term": term, "status": status, "outcome": outcome.replace("\0", ""),
                  "output": output.replace("\0", ""), "namespace": namespace}  # fmt: skip
        done = self._connection.execute(_FINISH.encode(), values).rowcount == 1
        if done:
            self._note("responses", status, row.incident_id, row.response, row.response_id, outcome)
        return done

    def abandon(self, running: Sequence[str]) -> int:
        """What runs in no process that lives is 'unknown'. running: identities of those that this process runs."""
        text = "the process that ran it ended before it did: look whether it was done; it is not run again by itself"
        rows = self._connection.execute(
            b"update responses set status = 'unknown', outcome = %s, ended_at = clock_timestamp()"
            b" where status = 'running' and not response_id = any(%s::uuid[])"
            b" returning response_id::text, incident_id::text, response",
            (text, list(running)),
        ).fetchall()
        for response_id, incident_id, name in rows:
            self._note("responses", "unknown", incident_id, name, response_id, text)
        return len(rows)

    def _select(self, chosen: str, **values: Any) -> list[StoredResponse]:
        query = f"select {_COLUMNS} from responses {chosen}"  # noqa: S608 (constants)
        return self._cursor().execute(query.encode(), values).fetchall()

    def _cursor(self) -> psycopg.Cursor[StoredResponse]:
        return self._connection.cursor(row_factory=class_row(StoredResponse))

    def _note(self, actor: str, action: str, incident_id: str, name: str, response_id: str, reason: str) -> None:
        text = f"response '{name}' ({response_id[:8]})" + (f": {reason}" if reason else "")
        self._audit.write(actor, f"{action} response", incident_id, text[:2000])


def acted_on(connection: psycopg.Connection[Any], episodes: Sequence[str]) -> dict[str, datetime]:
    """Episodes whose incident was acted upon by a response that says that it averts: the event time of the first."""
    return dict(connection.execute(_ACTED.encode(), (list(episodes),)).fetchall()) if episodes else {}


def _uuid(text: str) -> str | None:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None
