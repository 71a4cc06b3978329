"""Decides which incident an episode belongs to, and which episode of an incident is the likely cause."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from forewarn.incidents.episodes import OPEN_STATES, Episode
from forewarn.incidents.graph import ServiceGraph
from forewarn.incidents.modes import words_of
from forewarn.incidents.records import Incident
from forewarn.telemetry.samples import namespace_of

_REOPENED = ("resolved", "withdrawn")


@dataclass(frozen=True, slots=True)
class Group:
    """An incident together with its episodes."""

    incident: Incident
    episodes: tuple[Episode, ...]


@dataclass(frozen=True, slots=True)
class Assignment:
    """The incident to join, None for a new one, and why."""

    incident_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Link:
    """How an episode hangs together with one of a group; the smallest is the strongest."""

    hops: int
    apart_seconds: float
    reason: str


def assign(episode: Episode, groups: Sequence[Group], graph: ServiceGraph, window: timedelta) -> Assignment:
    """Join the incident with the strongest link: the same signal, the same entity, then the fewest calls away.

    `groups` are the open incidents and those that closed less than `window` ago.
    """
    candidates = []
    for group in groups:
        link = _link(episode, group, graph, window)
        if link is not None:
            candidates.append((link.hops, link.apart_seconds, group.incident.incident_id, link.reason))
    if not candidates:
        return Assignment(None, f"nothing open in namespace '{namespace_of(episode.entity)}' is connected with it")
    *_, incident_id, reason = min(candidates)
    return Assignment(incident_id, reason)


def cause_of(episodes: Sequence[Episode], graph: ServiceGraph) -> Episode:
    """The likely cause: it depends on no other entity in trouble, most others depend on it, it began first.

    Episodes that came to nothing count only where all did.
    """
    live = [e for e in episodes if e.state in ("predicted", "firing", "resolved")] or list(episodes)

    def rank(one: Episode) -> tuple[int, int, float, str]:
        explained_by = sum(_may_follow(one, other, graph) for other in live)
        explains = sum(_may_follow(other, one, graph) for other in live)
        return explained_by, -explains, one.onset_at.timestamp(), one.episode

    return min(live, key=rank)


def _link(episode: Episode, group: Group, graph: ServiceGraph, window: timedelta) -> _Link | None:
    if namespace_of(group.incident.entity) != namespace_of(episode.entity):
        return None
    if group.incident.state not in OPEN_STATES:
        return _reopening(episode, group, window)
    start = min(e.onset_at for e in group.episodes) - window
    end = max(max(e.ends_at for e in group.episodes), group.incident.updated_at) + window
    if not start <= episode.onset_at <= end:
        return None
    links = [link for other in group.episodes if (link := _between(episode, other, graph, window)) is not None]
    return min(links, key=lambda link: (link.hops, link.apart_seconds), default=None)


def _reopening(episode: Episode, group: Group, window: timedelta) -> _Link | None:
    """The same signal again shortly after its incident closed: the same trouble, not another page."""
    if group.incident.state not in _REOPENED or any(e.feedback for e in group.episodes):
        return None
    same = any((e.entity, e.signal) == (episode.entity, episode.signal) for e in group.episodes)
    apart = abs((episode.onset_at - group.incident.updated_at).total_seconds())
    if not same or apart > window.total_seconds():
        return None
    return _Link(0, apart, f"the same signal again, {group.incident.state} {apart:.0f} s before")


def _between(one: Episode, other: Episode, graph: ServiceGraph, window: timedelta) -> _Link | None:
    apart = abs((one.onset_at - other.onset_at).total_seconds())
    if one.entity == other.entity:
        return _within_entity(one, other, apart)
    for symptom, cause in ((one, other), (other, one)):
        if _may_follow(symptom, cause, graph):
            hops = graph.hops(symptom.entity, cause.entity) or 1
            return _Link(hops, apart, f"{symptom.entity} depends on {cause.entity} ({hops} calls away)")
    same_mode = one.mode == other.mode and words_of(one.mode, one.signal).spreads
    shared = graph.shared_servers(one.entity, other.entity)
    if same_mode and shared and apart <= window.total_seconds():
        return _Link(2, apart, f"{one.entity} and {other.entity} fail alike and both call {min(shared)}")
    return None


def _within_entity(one: Episode, other: Episode, apart: float) -> _Link | None:
    if one.signal == other.signal:
        return _Link(0, apart, f"the same signal of {one.entity}")
    spreads = words_of(one.mode, one.signal).spreads or words_of(other.mode, other.signal).spreads
    if one.mode == other.mode or spreads:
        return _Link(0, apart, f"the same entity {one.entity}")
    return None  # memory and disk of one host are used up each for reasons of its own


def _may_follow(symptom: Episode, cause: Episode, graph: ServiceGraph) -> bool:
    """Whether the trouble can have come to `symptom` along the calls it makes."""
    if symptom.entity == cause.entity or not words_of(symptom.mode, symptom.signal).spreads:
        return False
    return graph.hops(symptom.entity, cause.entity) is not None
