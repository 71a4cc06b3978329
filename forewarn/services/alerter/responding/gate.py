"""Whether what is proposed or approved may begin now, must wait, or is over; what is found is entered."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg

from forewarn.alerting.matching import labels_of, matches
from forewarn.alerting.policy import Policy
from forewarn.alerting.responses.deciding import Hold, World, hold_of, look_back
from forewarn.alerting.responses.placeholders import ValueRefused
from forewarn.alerting.responses.plan import plan_of, same
from forewarn.alerting.responses.response import Response, ResponsesFile
from forewarn.incidents.episodes import OPEN_STATES
from forewarn.incidents.records import Incident
from forewarn.stores.feedback import PostgresFeedback
from forewarn.stores.incidents import PostgresIncidents
from forewarn.stores.responses import PostgresResponses, StoredResponse
from forewarn.stores.silences import PostgresMaintenance


class Gate:
    """Asked for each pending response at each look. commands: they are allowed. secrets: names of those there are."""

    def __init__(self, policy: Callable[[], Policy], commands: bool, secrets: frozenset[str]) -> None:
        self._policy, self._commands, self._secrets = policy, commands, secrets

    def opens(self, connection: psycopg.Connection[Any], row: StoredResponse, file: ResponsesFile) -> bool:
        """Whether it may begin now; else it is held, ended or still waits for an approval. Raises psycopg.Error."""
        stored, now = PostgresResponses(connection), PostgresResponses(connection).now()
        incident, response = PostgresIncidents(connection).get(row.incident_id), file.named().get(row.response)
        end = _end_of(row, incident, response, now)
        if end is not None:
            stored.end(row, *end)
            return False
        assert incident is not None and response is not None
        starts = stored.starts(look_back(file.responses, file.limits))
        hushed = self._hushed(connection, incident, now) if row.automatic else None
        world = World(now, starts, file.limits, self._commands, self._secrets, hushed)
        hold = hold_of(response, row.entity, row.automatic, world)
        stored.hold(row, *((hold.code, hold.why) if hold else (None, "")))
        return hold is None and row.status == "approved"

    def _hushed(self, connection: psycopg.Connection[Any], incident: Incident, now: datetime) -> Hold | None:
        """What nobody is told of, nothing acts upon by itself: somebody works there, or expects it."""
        policy = self._policy()
        labels = labels_of(incident, policy.own_labels(incident.entity))
        for silence in PostgresFeedback(connection).silences(now):
            if silence.covers(labels, now):
                return Hold("silence", f"silenced by {silence.author} until {silence.ends_at:%Y-%m-%d %H:%M} UTC")
        stored = [row.window for row in PostgresMaintenance(connection).windows()]
        for window in [*(spec.window() for spec in policy.maintenance), *stored]:
            if matches(window.match, labels) and window.ends_at(now) is not None:
                return Hold("maintenance", f"maintenance '{window.name}'")
        return None


def _end_of(
    row: StoredResponse, incident: Incident | None, response: Response | None, now: datetime
) -> tuple[str, str] | None:
    """(status, why) where it can never run any more."""
    if incident is None or incident.state not in OPEN_STATES:
        return "expired", f"its incident is {incident.state if incident is not None else 'not there any more'}"
    if row.expires_at <= now:
        held = f"; it was held: {row.held_why}" if row.held_for else ""
        return "expired", f"{'nobody approved it' if row.status == 'proposed' else 'it could not begin'} in time{held}"
    why = changed(row, response)
    return ("superseded", why) if why else None


def changed(row: StoredResponse, response: Response | None) -> str | None:
    """What is in the file now is not what was proposed: the sentence says how; None where it is."""
    if response is None:
        return "it is not in the file any more"
    if response.dry_run:
        return "it is a dry run by now"
    if row.automatic and response.approval == "required":
        return "it needs an approval by now"
    try:
        plan = plan_of(response, row.facts)
    except ValueRefused as error:
        return str(error)
    return None if same(plan, row.plan) else "the file has changed since: it would do something else"
