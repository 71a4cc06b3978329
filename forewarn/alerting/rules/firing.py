"""What becomes of a rule about one series: it begins to hold, fires, is told to be over. Each step is decided once."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from forewarn.alerting.matching import MODE_OF_RULES
from forewarn.alerting.rules.condition import Verdict
from forewarn.alerting.rules.facts import Facts, Subject
from forewarn.alerting.rules.rule import Rule
from forewarn.incidents.episodes import Episode
from forewarn.incidents.records import Incident
from forewarn.risk.quantities import format_duration

Labels = Callable[[str], Mapping[str, str]]  # of an entity, by the alerting file

_NAMESPACE = uuid.UUID("3c8f7a52-9d0e-4f1b-8b1e-1f6f0c2f7a10")


@dataclass(frozen=True, slots=True)
class Key:
    """A rule about a series of an entity; series is '' where the rule is about the entity."""

    rule: str
    entity: str
    series: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """Since when it holds and was last true (event times). incident_id: None until it has fired."""

    since: datetime
    last_true: datetime
    incident_id: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """standing: what is to be remembered, None: nothing. event: 'fire', 'resolve', 'begin', 'end' or ''."""

    standing: Standing | None
    event: str = ""


def step(rule: Rule, key: Key, before: Standing | None, verdict: Verdict, at: datetime) -> Step:
    """One evaluation. What is unknown does not fire, and does not keep a rule firing for longer than it may flap."""
    if verdict.holds:
        standing = replace(before, last_true=max(at, before.last_true)) if before else Standing(at, at)
        if standing.incident_id is None and at - standing.since >= rule.held_for:
            return Step(replace(standing, incident_id=incident_id_of(key, standing.since)), "fire")
        return Step(standing, "" if before else "begin")
    if before is None:
        return Step(None)
    if before.incident_id is None:
        return Step(None, "end")
    return Step(before) if at - before.last_true < rule.keep else Step(None, "resolve")


def incident_id_of(key: Key, since: datetime) -> str:
    """The same for the same firing, so that nothing is told twice."""
    return str(uuid.uuid5(_NAMESPACE, f"{key.rule}\n{key.entity}\n{key.series}\n{since.timestamp()}"))


def fired(rule: Rule, key: Key, standing: Standing, verdict: Verdict, at: datetime) -> Incident:
    """The incident that tells of a firing."""
    assert standing.incident_id is not None
    about = key.series or key.entity
    title = rule.annotations.get("title") or f"{rule.name}: {key.entity}" + (f" {key.series}" if key.series else "")
    held = f", for {_minutes(at - standing.since)}" if rule.held_for else ""
    said = "; ".join(verdict.said) or "its condition holds"
    text = f"Rule '{rule.name}' holds for {about}{held}: {said}."
    note = rule.annotations.get("summary") or rule.annotations.get("description")
    return Incident(
        standing.incident_id, 1, "firing", rule.severity, title[:300], key.entity, key.series or rule.name,
        MODE_OF_RULES, [], at, at, None, at, [], [], f"{text} {note}" if note else text,
        labels={**rule.labels, "rule": rule.name},
    )  # fmt: skip


def over(incident: Incident, why: str, at: datetime) -> Incident:
    """The same incident, resolved."""
    version, rule = incident.version + 1, incident.labels.get("rule", incident.signal)
    return replace(incident, version=version, state="resolved", updated_at=at, summary=f"Rule '{rule}' {why}.")


def episode_of_rule(incident: Incident) -> Episode:
    """What messages need of an episode: a firing has none in the ledger, so that no score counts it."""
    i = incident
    recovered = i.updated_at if i.state == "resolved" else None
    return Episode(
        i.incident_id, i.entity, i.signal, i.mode, i.opened_at, failed_at=i.failed_at or i.opened_at,
        recovered_at=recovered, predicted=False,
    )  # fmt: skip


def why_over(verdict: Verdict | None) -> str:
    """Why a rule that fired does not hold any more."""
    if verdict is None:
        return "no longer applies: it was changed or removed, or what it was about is gone"
    if verdict.holds is None:
        return f"can no longer be judged: {verdict.why}"
    return f"no longer holds: {'; '.join(verdict.said)}" if verdict.said else "no longer holds"


def subjects(rule: Rule, facts: Facts, labels: Labels) -> list[Subject]:
    """What a rule is evaluated for: each series of the signal it names first, else each entity with a prediction."""
    needs, found = rule.condition.needs, []
    if needs.first is None:
        for entity in sorted({*facts.risks, *facts.fillings}):
            at = facts.clock(entity)
            if at is not None:
                found.append(Subject(entity, at, facts, None, labels(entity)))
        return found
    signal, wanted = needs.first
    for entity, by_signal in facts.readings.items():
        at = facts.clock(entity)
        own = [r for r in by_signal.get(signal, ()) if wanted.items() <= dict(r.attributes).items()]
        if at is not None and own:
            known = labels(entity)
            found += [Subject(entity, at, facts, reading, known) for reading in own]
    return found


def _minutes(length: timedelta) -> str:
    return format_duration(length.total_seconds())
