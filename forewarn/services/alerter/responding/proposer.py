"""Proposes responses for open incidents that they are for, each once."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg

from forewarn.alerting.matching import labels_of
from forewarn.alerting.policy import Policy
from forewarn.alerting.responses.deciding import misfit
from forewarn.alerting.responses.placeholders import ValueRefused
from forewarn.alerting.responses.plan import plan_of, values_of
from forewarn.alerting.responses.response import Response
from forewarn.alerting.rules.condition import Condition
from forewarn.alerting.rules.facts import Facts, Subject
from forewarn.incidents.records import Incident
from forewarn.risk.quantities import format_share
from forewarn.stores.incidents import PostgresIncidents
from forewarn.stores.ledger import PostgresLedger
from forewarn.stores.responses import PostgresResponses, Proposal
from forewarn.stores.rule_facts import read_facts, series_of_rules
from forewarn.telemetry.samples import namespace_of

MOST_PENDING = 100
_PROBABILITY = """
select max(probability) from (
    select distinct on (r.episode) r.probability, r.state from risks r where r.episode = any(%s::uuid[])
    order by r.episode, r.revision desc) newest
where state <> 'withdrawn'
"""


class Proposer:
    """Looks at all open incidents each time it is asked. home: address of the dashboard."""

    def __init__(self, home: str, policy: Callable[[], Policy]) -> None:
        self._home, self._policy = home.rstrip("/"), policy

    def propose(self, connection: psycopg.Connection[Any], responses: Sequence[Response]) -> int:
        """How many were entered. Raises psycopg.Error, TooManySeriesError."""
        stored, open_ones = PostgresResponses(connection), PostgresIncidents(connection).open_incidents()
        known = stored.known([i.incident_id for i in open_ones]) if responses and open_ones else set()
        room, entered = MOST_PENDING - len(stored.pending()), 0
        for incident in open_ones:
            for response in responses:
                if {(response.name, incident.incident_id, dry) for dry in {False, response.dry_run}} & known:
                    continue
                if entered >= room:
                    return entered
                entered += self._consider(connection, response, incident)
        return entered

    def proposal(
        self, connection: psycopg.Connection[Any], response: Response, incident: Incident
    ) -> tuple[Proposal | None, str]:
        """What would be proposed now, and why; None with the reason where the response is not for this incident."""
        labels = labels_of(incident, self._policy().own_labels(incident.entity))
        probability = probability_of(connection, incident)
        reason = misfit(response, incident, labels, probability)
        if reason is not None:
            return None, reason
        said = ""
        if response.condition is not None:
            holds, said = _holds(connection, response.condition, incident, labels)
            if not holds:
                return None, f"its condition does not hold{f': {said}' if said else ''}"
        run = str(uuid.uuid4())
        url = f"{self._home}/risk?incident={incident.incident_id}"
        clock = PostgresLedger(connection).watermarks().get(namespace_of(incident.entity))
        facts = values_of(incident, labels, probability, url, run, clock)
        why = f"{incident.title}: {format_share(probability)}" + (f"; {said}" if said else "")
        return Proposal(
            run, response.name, response.kind, incident.incident_id, incident.entity, response.approval == "automatic",
            response.averts, plan_of(response, facts), facts, why, response.approval_valid,
        ), why  # fmt: skip

    def _consider(self, connection: psycopg.Connection[Any], response: Response, incident: Incident) -> bool:
        stored = PostgresResponses(connection)
        try:
            proposal, _ = self.proposal(connection, response, incident)
        except ValueRefused as error:
            return stored.propose(refused(response, incident), "declined", str(error))
        if proposal is None:
            return False
        if response.dry_run:
            return stored.propose(proposal, "dry_run", "nothing was done: it is a dry run")
        return stored.propose(proposal, "approved" if proposal.automatic else "proposed")


def refused(response: Response, incident: Incident) -> Proposal:
    """Of what cannot be done because of a value from telemetry: entered as declined, so that it is seen."""
    return Proposal(
        str(uuid.uuid4()), response.name, response.kind, incident.incident_id, incident.entity, False, False, {}, {},
        "a value from telemetry may not stand where the response wants it", response.approval_valid,
    )  # fmt: skip


def probability_of(connection: psycopg.Connection[Any], incident: Incident) -> float:
    """Of the failure, as it was predicted last; 1 where it has failed or a rule of a team's own holds."""
    if incident.state == "firing" or not incident.episodes:
        return 1.0
    row = connection.execute(_PROBABILITY.encode(), (incident.episodes[:1],)).fetchone()
    return float(row[0]) if row is not None and row[0] is not None else 0.0


def _holds(
    connection: psycopg.Connection[Any], condition: Condition, incident: Incident, labels: Mapping[str, str]
) -> tuple[bool, str]:
    """Whether a condition holds for the incident's entity and series, and what was found."""
    found = series_of_rules(connection, condition.needs.signals, incident.entity)
    facts = read_facts(connection, found, [condition.needs])
    at = facts.clock(incident.entity) or incident.updated_at
    verdict = condition.verdict(_subject(facts, incident, at, labels))
    return bool(verdict.holds), ", ".join(verdict.said) if verdict.holds is not None else verdict.why


def _subject(facts: Facts, incident: Incident, at: Any, labels: Mapping[str, str]) -> Subject:
    """About the incident's own series, where the condition names its signal."""
    readings = [r for several in facts.readings.get(incident.entity, {}).values() for r in several]
    series = next((r for r in readings if r.name == incident.signal), None)
    return Subject(incident.entity, at, facts, series, labels)
