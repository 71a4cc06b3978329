"""Makes the notification of a message: its incident, episodes, thread, labels and signed links, from the stores."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import psycopg

from forewarn.alerting.channel import Links, Notification, Receipt
from forewarn.alerting.links import LinkSigner
from forewarn.alerting.matching import labels_of
from forewarn.alerting.policy import Policy
from forewarn.alerting.rules.firing import episode_of_rule
from forewarn.incidents.episodes import OPEN_STATES
from forewarn.incidents.records import Incident
from forewarn.stores.incident_causes import PostgresIncidentCauses
from forewarn.stores.incidents import IncidentStore, PostgresIncidents
from forewarn.stores.ledger import PostgresLedger
from forewarn.stores.outbox import Message, OutboxStore, PostgresOutbox
from forewarn.stores.responses import PostgresResponses, StoredResponse
from forewarn.telemetry.samples import namespace_of


class Composer:
    """Composes on the caller's connection. home: address of the dashboard. signer: none, no links to answer with."""

    def __init__(self, public_url: str, signer: LinkSigner | None, policy: Callable[[], Policy]) -> None:
        self.home = public_url.rstrip("/")
        self._signer = signer
        self._policy = policy

    def incident(self, connection: psycopg.Connection[Any], message: Message) -> Incident | None:
        """The version that a message tells of."""
        return PostgresIncidents(connection).get(message.incident_id, message.version)

    def labels(self, incident: Incident) -> dict[str, str]:
        """With those of the alerting file."""
        return labels_of(incident, self._policy().own_labels(incident.entity))

    def notification(self, connection: psycopg.Connection[Any], message: Message) -> Notification:
        """Raises LookupError where the incident is not there."""
        incidents, outbox = PostgresIncidents(connection), PostgresOutbox(connection)
        incident = incidents.get(message.incident_id, message.version)
        if incident is None:
            raise LookupError(f"there is no version {message.version} of incident {message.incident_id}")
        earlier = outbox.sent(message.incident_id, message.channel)
        first = incidents.get(message.incident_id, earlier[0].version) if earlier else None
        cause, *others = PostgresLedger(connection).episodes(incident.episodes) or [episode_of_rule(incident)]
        return Notification(
            message_id=message.message_id,
            thread=tuple(m.message_id for m in earlier),
            reason=message.reason,
            incident=incident,
            subject=(first or incident).title,
            cause=cause,
            others=tuple(others),
            url=f"{self.home}/risk?incident={incident.merged_into or incident.incident_id}",
            why=message.why,
            receipts=tuple(m.receipt for m in earlier),
            labels=self.labels(incident),
            links=self._links(incident, message.channel),
            shared=shared_receipts(incidents, outbox, earlier),
            in_doubt=message.in_doubt,
            located=PostgresIncidentCauses(connection).sentence(incident.incident_id),
            responses=tuple(
                said for row in PostgresResponses(connection).of_incident(incident.incident_id) if (said := _said(row))
            ),
            clock=PostgresLedger(connection).watermarks().get(namespace_of(incident.entity)),
        )

    def current(self, connection: psycopg.Connection[Any], message: Message) -> Notification | None:
        """What a channel was told last, as it is now; None where it is over."""
        incident = PostgresIncidents(connection).get(message.incident_id)
        if incident is None or incident.state not in OPEN_STATES:
            return None
        told = self.notification(connection, message)
        labels = {**self.labels(incident), "severity": told.incident.severity}  # as told: they are its identity
        return replace(told, labels=labels)

    def _links(self, incident: Incident, channel: str) -> Links:
        return self._signer.links(incident.incident_id, incident.version, channel) if self._signer else Links()


def shared_receipts(incidents: IncidentStore, outbox: OutboxStore, earlier: Sequence[Message]) -> tuple[Receipt, ...]:
    """Those receipts of what was told of an incident under which another open incident was told too."""
    shared: list[Receipt] = []
    for message in earlier:
        if message.batch_id and message.receipt not in shared:
            others = set(outbox.sharing(message.receipt, message.channel)) - {message.incident_id}
            if any((i := incidents.get(other)) is not None and i.state in OPEN_STATES for other in others):
                shared.append(message.receipt)
    return tuple(shared)


def _said(row: StoredResponse) -> str:
    """A sentence on a response that people must decide on, or that was begun; '' for others."""
    what = f"The response '{row.response}'"
    if row.status == "proposed":
        return f"{what} waits for an approval until {row.expires_at:%H:%M} UTC: open the incident to decide."
    if row.status in ("approved", "running"):
        return f"{what} was approved by {row.decided_by}" + (f"; it waits: {row.held_why}." if row.held_for else ".")
    ended = {"succeeded": "was done", "failed": "failed", "unknown": "may have been done"}.get(row.status)
    return f"{what} {ended} at {row.ended_at:%H:%M} UTC: {row.outcome}." if ended and row.ended_at else ""
