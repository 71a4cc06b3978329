"""Decides which open incidents turned out to be one, and which members of an incident turned out to be strangers."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from forewarn.incidents.episodes import Episode
from forewarn.incidents.graph import ServiceGraph
from forewarn.incidents.grouping import Group, between, cause_of, is_near, may_follow
from forewarn.telemetry.samples import namespace_of


@dataclass(frozen=True, slots=True)
class Merge:
    """Two incidents are one, and why."""

    one: str
    other: str
    reason: str


def merge_of(group: Group, others: Sequence[Group], graph: ServiceGraph, window: timedelta) -> Merge | None:
    """The open incident whose cause explains this one's cause, or is explained by it; the fewest calls away.

    A symptom that two incidents share does not make them one: only their causes count.
    """
    found = []
    for other in others:
        link = _link(group, other, graph, window)
        if link is not None:
            found.append((link[0], other.incident.incident_id, link[1]))
    if not found:
        return None
    _, other_id, reason = min(found)
    return Merge(group.incident.incident_id, other_id, reason)


def merges_by_graph(groups: Sequence[Group], graph: ServiceGraph, window: timedelta) -> Merge | None:
    """The first two of these open incidents that are one by the service graph; ask again after it was done."""
    by_node: dict[tuple[str, str], list[Group]] = defaultdict(list)
    for group in groups:
        cause = group.episodes[0]
        by_node[namespace_of(cause.entity), graph.node(cause.entity)].append(group)
    for group in groups:
        entity = group.episodes[0].entity
        near = [by_node.get((namespace_of(entity), server), []) for server in graph.servers(entity)]
        merge = merge_of(group, [g for found in near for g in found if g is not group], graph, window)
        if merge is not None:
            return merge
    return None


def strangers(
    episodes: Sequence[Episode], graph: ServiceGraph, at: datetime, window: timedelta
) -> list[tuple[Episode, ...]]:
    """Members that go on by themselves: they fail, or are predicted anew, longer than `window` after the cause ended.

    One tuple for each incident of its own, its cause first. None while anything of the cause's entity goes on.
    """
    due = strangers_due(episodes, graph, window)
    if due is None or at < due:
        return []
    left = [e for e in episodes if e.state == "firing" or (e.risk is not None and e.risk.predicted_at >= due)]
    return _parts([e for e in left if e.is_open], graph, window)


def strangers_due(episodes: Sequence[Episode], graph: ServiceGraph, window: timedelta) -> datetime | None:
    """When what is still open counts as trouble of its own; None while the cause is not over, or all is."""
    open_ones = [e for e in episodes if e.is_open]
    if not open_ones:
        return None
    cause = cause_of(episodes, graph)
    if cause.state != "resolved" or cause.recovered_at is None or any(e.entity == cause.entity for e in open_ones):
        return None
    return cause.recovered_at + window


def _parts(episodes: list[Episode], graph: ServiceGraph, window: timedelta) -> list[tuple[Episode, ...]]:
    parts = []
    while episodes:
        cause = cause_of(episodes, graph)
        mine = [e for e in episodes if e is not cause and between(e, cause, graph, window) is not None]
        parts.append((cause, *mine))
        taken = {id(e) for e in parts[-1]}
        episodes = [e for e in episodes if id(e) not in taken]
    return parts


def _link(one: Group, other: Group, graph: ServiceGraph, window: timedelta) -> tuple[int, str] | None:
    a, b = one.episodes[0], other.episodes[0]
    if namespace_of(a.entity) != namespace_of(b.entity):
        return None
    if not (is_near(a, other, window) or is_near(b, one, window)):
        return None
    for symptom, cause in ((a, b), (b, a)):
        if may_follow(symptom, cause, graph):
            hops = graph.hops(symptom.entity, cause.entity) or 1
            return hops, f"{symptom.entity} depends on {cause.entity} ({hops} calls away)"
    return None
