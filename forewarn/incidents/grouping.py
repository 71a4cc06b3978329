"""Decides which incident an episode belongs to, and which episode of an incident is the likely cause."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forewarn.incidents.co_occurrence import CoOccurrence
from forewarn.incidents.episodes import OPEN_STATES, Episode
from forewarn.incidents.graph import MAX_HOPS, ServiceGraph
from forewarn.incidents.modes import words_of
from forewarn.incidents.records import Incident
from forewarn.risk.records import Forecast
from forewarn.telemetry.samples import namespace_of

_REOPENED = ("resolved", "withdrawn")
_MOVES_WITH = 0.8  # correlation of what two signals did from one moment to the next
_MOVES_APART = 0.3  # less than that: 30 steps of two independent signals correlate by more in one case of ten
_MIN_POINTS = 30
_NOTHING_LEARNED = CoOccurrence()
_BEYOND_GRAPH = MAX_HOPS + 1  # what was learned is the weakest link


@dataclass(frozen=True, slots=True)
class Group:
    """An incident together with its episodes, the likely cause first."""

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


def assign(
    episode: Episode,
    groups: Sequence[Group],
    graph: ServiceGraph,
    window: timedelta,
    learned: CoOccurrence = _NOTHING_LEARNED,
) -> Assignment:
    """Join the incident with the strongest link: the same signal, the same entity, then the fewest calls away.

    Where several are equally near, the one whose cause moves as this signal does, then the one that began closest in
    time. `groups` are the open incidents and those that closed less than `window` ago.
    """
    candidates = []
    for group in groups:
        link = _link(episode, group, graph, window, learned)
        if link is not None:
            candidates.append((link.hops, link.apart_seconds, group.incident.incident_id, link.reason, group))
    if not candidates:
        return Assignment(None, f"nothing open in namespace '{namespace_of(episode.entity)}' is connected with it")
    nearest = min(c[0] for c in candidates)
    candidates = sorted((c for c in candidates if c[0] == nearest), key=lambda c: c[:3])
    if len(candidates) > 1:
        for _, _, incident_id, reason, group in candidates:
            together = correlation(episode, group.episodes[0])
            if together >= _MOVES_WITH:
                return Assignment(incident_id, f"{reason}, and its signal moves with the cause's ({together:.2f})")
    return Assignment(*candidates[0][2:4])


def correlation(one: Episode, other: Episode) -> float:
    """Pearson correlation of the steps of two signals over the history that both predictions carry; 0 where unknown."""
    return _correlation(one, other) or 0.0


def _correlation(one: Episode, other: Episode) -> float | None:
    if one.risk is None or other.risk is None:
        return None
    (t, x), (u, y) = (_history(e.risk.forecast, e.risk.predicted_at.timestamp()) for e in (one, other) if e.risk)
    _, i, j = np.intersect1d(t, u, return_indices=True)
    steps = np.diff(x[i]), np.diff(y[j])
    known = np.isfinite(steps[0]) & np.isfinite(steps[1])
    a, b = steps[0][known], steps[1][known]
    if len(a) < _MIN_POINTS or a.std() == 0 or b.std() == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _history(forecast: Forecast, at: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Times (whole seconds since 1970) and values, both [points].

    Windows keep whole cells of the clock, whenever a prediction is made of them: so their times are counted.
    """
    times = np.asarray(forecast.history_seconds, float) + at
    if len(times) > 1:
        width = float(np.median(np.diff(times)))
        times = np.floor(times / width + 1e-6) * width
    return np.round(times).astype(np.int64), np.array(
        [np.nan if v is None else v for v in forecast.history_values], float
    )


def cause_of(episodes: Sequence[Episode], graph: ServiceGraph) -> Episode:
    """The likely cause: it depends on no other entity in trouble, most others depend on it, it began first.

    Episodes that came to nothing count only where all did.
    """
    live = [e for e in episodes if e.state in ("predicted", "firing", "resolved")] or list(episodes)

    def rank(one: Episode) -> tuple[int, int, float, str]:
        explained_by = sum(may_follow(one, other, graph) or _broken_by(one, other) for other in live)
        explains = sum(may_follow(other, one, graph) or _broken_by(other, one) for other in live)
        return explained_by, -explains, one.onset_at.timestamp(), one.episode

    if len(live) == 1:
        return live[0]
    return min(live, key=rank)


def is_near(episode: Episode, group: Group, window: timedelta) -> bool:
    """Whether it began while the incident's trouble may last, or up to `window` before or after."""
    start = min(e.onset_at for e in group.episodes) - window
    end = max(max(e.ends_at for e in group.episodes), group.incident.updated_at) + window
    return start <= episode.onset_at <= end


def _link(
    episode: Episode, group: Group, graph: ServiceGraph, window: timedelta, learned: CoOccurrence
) -> _Link | None:
    if namespace_of(group.incident.entity) != namespace_of(episode.entity):
        return None
    if group.incident.state not in OPEN_STATES:
        return _reopening(episode, group, window)
    if not is_near(episode, group, window):
        return None
    cause, *others = group.episodes
    links = [between(episode, cause, graph, window), *(_beside(episode, o, graph, window) for o in others)]
    found = [link for link in links if link is not None]
    if not found:
        return _learned(episode, group, window, learned)
    return min(found, key=lambda link: (link.hops, link.apart_seconds))


def _learned(episode: Episode, group: Group, window: timedelta, learned: CoOccurrence) -> _Link | None:
    for other in group.episodes:
        apart = abs((episode.onset_at - other.onset_at).total_seconds())
        reason = learned.reason((episode.entity, episode.mode), (other.entity, other.mode))
        if reason is not None and apart <= window.total_seconds():
            return _Link(_BEYOND_GRAPH, apart, reason)
    return None


def _reopening(episode: Episode, group: Group, window: timedelta) -> _Link | None:
    """The same signal again shortly after its incident closed: the same trouble, not another page."""
    if group.incident.state not in _REOPENED or any(e.feedback for e in group.episodes):
        return None
    same = any((e.entity, e.signal) == (episode.entity, episode.signal) for e in group.episodes)
    apart = abs((episode.onset_at - group.incident.updated_at).total_seconds())
    if not same or apart > window.total_seconds():
        return None
    return _Link(0, apart, f"the same signal again, {group.incident.state} {apart:.0f} s before")


def between(one: Episode, cause: Episode, graph: ServiceGraph, window: timedelta) -> "_Link | None":
    """How an episode hangs together with the cause of an incident, in either direction."""
    link = _as_symptom(one, cause, graph, window)
    if link is None and may_follow(cause, one, graph):
        return _call(cause, one, graph)  # it explains what was taken for the cause until now
    return link


def _broken_by(symptom: Episode, cause: Episode) -> bool:
    """Whether a promise to users is broken by what the same entity uses up."""
    one, other = words_of(symptom.mode, symptom.signal), words_of(cause.mode, cause.signal)
    return symptom.entity == cause.entity and one.objective and not other.objective


def _beside(one: Episode, member: Episode, graph: ServiceGraph, window: timedelta) -> _Link | None:
    """How an episode hangs together with one that is explained: what an entity uses up by itself does not."""
    if one.entity == member.entity and one.mode != member.mode:
        words = words_of(one.mode, one.signal)
        if not words.spreads or (not words.objective and words_of(member.mode, member.signal).objective):
            return None
    return _as_symptom(one, member, graph, window)


def _as_symptom(one: Episode, other: Episode, graph: ServiceGraph, window: timedelta) -> _Link | None:
    """How it may be a consequence of another, or of the same.

    That another may be its consequence is not enough where the other has a cause already: two causes may have a symptom
    in common.
    """
    apart = abs((one.onset_at - other.onset_at).total_seconds())
    if one.entity == other.entity:
        return _within_entity(one, other, apart)
    if may_follow(one, other, graph):
        return _call(one, other, graph)
    same_mode = one.mode == other.mode and words_of(one.mode, one.signal).spreads
    shared = graph.shared_servers(one.entity, other.entity)
    if same_mode and shared and apart <= window.total_seconds() and not _move_apart(one, other):
        return _Link(2, apart, f"{one.entity} and {other.entity} fail alike and both call {min(shared)}")
    return None


def _call(symptom: Episode, cause: Episode, graph: ServiceGraph) -> _Link:
    hops = graph.hops(symptom.entity, cause.entity) or 1
    apart = abs((symptom.onset_at - cause.onset_at).total_seconds())
    return _Link(hops, apart, f"{symptom.entity} depends on {cause.entity} ({hops} calls away)")


def _within_entity(one: Episode, other: Episode, apart: float) -> _Link | None:
    if one.signal == other.signal:
        return _Link(0, apart, f"the same signal of {one.entity}")
    spreads = words_of(one.mode, one.signal).spreads or words_of(other.mode, other.signal).spreads
    if one.mode == other.mode or spreads:
        return _Link(0, apart, f"the same entity {one.entity}")
    return None  # memory and disk of one host are used up each for reasons of its own


def may_follow(symptom: Episode, cause: Episode, graph: ServiceGraph) -> bool:
    """Whether the trouble can have come to `symptom` along the calls it makes."""
    words = words_of(symptom.mode, symptom.signal)
    hops = graph.hops(symptom.entity, cause.entity)
    if symptom.entity == cause.entity or hops is None or hops > words.calls_from_cause:
        return False
    if words.objective:
        return True  # a promise may be broken before: what gets scarce is often slow before it is gone
    unfelt = cause.failed_at is None or cause.failed_at > symptom.onset_at
    if (unfelt and not words.feels(words_of(cause.mode, cause.signal))) or _clearly_before(symptom, cause):
        return False
    return not (unfelt and _move_apart(symptom, cause))  # last, for it costs most


def _move_apart(one: Episode, other: Episode) -> bool:
    """Whether two signals whose histories are known do not move together."""
    together = _correlation(one, other)
    return together is not None and abs(together) < _MOVES_APART


def _clearly_before(one: Episode, other: Episode) -> bool:
    """Whether one fails, at the latest, before the other can."""
    latest = one.failed_at or _expected(one, "p90")
    soonest = other.failed_at or _expected(other, "p10")
    return latest is not None and soonest is not None and latest < soonest


def _expected(episode: Episode, quantile: Literal["p10", "p90"]) -> datetime | None:
    if episode.risk is None:
        return None
    seconds: float | None = getattr(episode.risk.time_to_failure, quantile)
    return None if seconds is None else episode.risk.predicted_at + timedelta(seconds=seconds)
