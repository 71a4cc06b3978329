"""Makes the next version of an incident from its episodes."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from forewarn.incidents.episodes import Episode
from forewarn.incidents.graph import ServiceGraph
from forewarn.incidents.grouping import cause_of
from forewarn.incidents.narrative import summary_of, title_of
from forewarn.incidents.records import Incident
from forewarn.incidents.severity import Severity, severity_of

_NAMESPACE = uuid.UUID("0a4f6e0c-5a44-4f0e-8f83-9f1a4d2f7b60")


def incident_id_of(episode: Episode) -> str:
    """Identity of the incident that an episode opens: the same when the same records are read again."""
    return str(uuid.uuid5(_NAMESPACE, f"{episode.episode}|{episode.onset_at.isoformat()}"))


def split_id_of(cause: Episode, incident_id: str) -> str:
    """Identity of the incident that members of another leave for: the one that its cause once opened, where it can."""
    own = incident_id_of(cause)
    return own if own != incident_id else str(uuid.uuid5(_NAMESPACE, f"{cause.episode}|split from {incident_id}"))


def merged(incident: Incident, into: Incident, at: datetime, reason: str) -> Incident:
    """The last version of an incident that turned out to be part of another; its episodes are told as they were."""
    return replace(
        incident,
        version=incident.version + 1,
        state="merged",
        updated_at=max(at, incident.updated_at),
        time_to_failure=None,
        predicted_at=None,
        merged_into=into.incident_id,
        summary=f"This is part of another incident, which goes on: {into.title}. {reason[:1].upper()}{reason[1:]}.",
    )


def state_of(episodes: Sequence[Episode], window: timedelta) -> str:
    """Firing while one has failed; resolved once all that failed are below their limit again.

    What was still predicted then came from the same trouble, unless it is predicted longer than `window` after.
    """
    states = {e.state for e in episodes}
    if "firing" in states:
        return "firing"
    recoveries = [e.recovered_at for e in episodes if e.state == "resolved" and e.recovered_at is not None]
    if not recoveries:
        return next((s for s in ("predicted", "averted", "expired") if s in states), "withdrawn")
    end = max(recoveries)
    new = any(
        e.state == "predicted" and e.risk is not None and (e.onset_at > end or e.risk.predicted_at > end + window)
        for e in episodes
    )
    return "predicted" if new else "resolved"


def assess(cause: Episode, state: str, graph: ServiceGraph, previous: str | None, at: datetime) -> Severity:
    """Severity of the likely cause: its probability, its time left at `at`, which services and users hang on it."""
    if state == "firing" or cause.risk is None:
        return severity_of(1.0, 0.0, 0, firing=True, previous=previous)
    if state != "predicted":
        return Severity(previous or "info", f"it is {state}")
    ttf = cause.risk.time_to_failure
    said = next((t for t in (ttf.p50, ttf.p10) if t is not None), cause.risk.horizon_seconds)
    left = said - max((at - cause.risk.predicted_at).total_seconds(), 0.0)
    dependants, users = len(graph.dependants(cause.entity)), graph.users_share(cause.entity)
    return severity_of(cause.risk.probability, left, dependants, False, previous, users)


def assemble(
    incident_id: str,
    previous: Incident | None,
    episodes: Sequence[Episode],
    graph: ServiceGraph,
    at: datetime,
    window: timedelta,
    track_record: Callable[[Episode], str],
) -> tuple[Incident, str]:
    """The incident as it is now, and why it has its severity.

    at: event time of what was learned. track_record: the sentence about predictions like this one.
    Raises ValueError without episodes.
    """
    if not episodes:
        raise ValueError(f"incident {incident_id} has no episodes")
    cause = cause_of(episodes, graph)
    state = state_of(episodes, window)
    severity = assess(cause, state, graph, previous.severity if previous else None, at)
    others = sorted((e for e in episodes if e is not cause), key=lambda e: (e.onset_at, e.episode))
    risk = cause.risk
    foreseen = risk if state == "predicted" else None
    incident = Incident(
        incident_id=incident_id,
        version=previous.version + 1 if previous else 1,
        state=state,
        severity=severity.level,
        title=title_of(cause),
        entity=cause.entity,
        signal=cause.signal,
        mode=cause.mode,
        episodes=[cause.episode, *(e.episode for e in others)],
        opened_at=previous.opened_at if previous else min(e.onset_at for e in episodes),
        updated_at=max(at, previous.updated_at) if previous else at,
        time_to_failure=foreseen.time_to_failure if foreseen is not None else None,
        failed_at=min((e.failed_at for e in episodes if e.failed_at is not None), default=None),
        drivers=risk.drivers if risk is not None else [],
        actions=risk.actions if risk is not None else [],
        summary=summary_of(cause, state, at, track_record(cause)),
        predicted_at=foreseen.predicted_at if foreseen is not None else None,
    )
    return incident, severity.reason


def is_news(previous: Incident | None, incident: Incident) -> bool:
    """Whether anything but the time has changed."""
    if previous is None:
        return True
    return replace(incident, version=previous.version, updated_at=previous.updated_at) != previous
