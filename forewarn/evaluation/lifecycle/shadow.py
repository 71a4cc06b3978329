"""Whether a shadow takes the champion's place: a paired comparison over incidents, and no group of entities worse."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.evaluation.lifecycle.bootstrap import F64, I64, Bools, Difference, paired_difference

CHANCE = 0.01  # on each side: the question is asked anew whenever an incident is over
GROUP_CHANCE = 0.05  # shared by all groups (Bonferroni)
LEAST_GROUP_INCIDENTS = 3
MATERIAL = 0.1  # a group is worse only if its loss grows by this share at least
MOST_GROUPS = 50
SEED = 7


class Decision(StrEnum):
    """What becomes of a shadow."""

    PROMOTE = "promote"
    WITHHOLD = "withhold"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class ShadowVerdict:
    """A decision and its reason. difference: of the Brier scores, shadow less champion."""

    decision: Decision
    reason: str
    difference: Difference | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """n rows that both models scored and whose outcome is known.

    shadow, champion: probability of the failure within the horizon, float64 [n]. failed: bool [n]. cluster [n]: rows
    with the same number are one case: all that lead to an incident, or a calm stretch of an entity. groups: kind of
    group ('entity', 'mode') -> label of each row [n].
    """

    shadow: F64
    champion: F64
    failed: Bools
    cluster: I64
    groups: Mapping[str, NDArray[Any]]
    span: timedelta = timedelta(0)

    @property
    def incidents(self) -> int:
        """Incidents among the rows."""
        return len(np.unique(self.cluster[self.failed]))

    @property
    def excess(self) -> F64:
        """Squared error of the shadow less that of the champion, [n]."""
        return (self.shadow - self.failed) ** 2 - (self.champion - self.failed) ** 2


@dataclass(frozen=True, slots=True)
class Told:
    """What one of them told, or would have, and what came of it.

    predicted: incidents that an open episode spoke of. false: episodes that ended without a failure.
    """

    predicted: frozenset[int] = frozenset()
    false: int = 0


@dataclass(frozen=True, slots=True)
class ShadowPolicy:
    """What the operator chose. most: event time after which a shadow that has not shown itself better goes."""

    least_incidents: int = 8
    least_rows: int = 200
    most: timedelta = timedelta(days=14)


def judge_shadow(pairs: Pairs, shadow: Told, champion: Told, policy: ShadowPolicy | None = None) -> ShadowVerdict:
    """Promote a shadow that is better beyond chance where no group of entities is worse; withhold one that is not.

    Better: the paired difference of Brier scores lies below zero in the bootstrap over incidents. It must neither
    lose incidents that the champion foresees, nor tell many more false alarms.
    """
    policy = policy or ShadowPolicy()
    over = pairs.span >= policy.most
    rows, incidents = len(pairs.failed), pairs.incidents
    if incidents < policy.least_incidents or rows < policy.least_rows:
        needed = f" of {policy.least_rows}" if rows < policy.least_rows else ""
        reason = f"{incidents} of {policy.least_incidents} incidents, {rows:,}{needed} predictions resolved"
        return _wait(reason, over, pairs.span)
    d = paired_difference(pairs.excess, pairs.cluster, pairs.failed, CHANCE, SEED)
    measured = f"Brier score {d.mean:+.4f} ({d.low:+.4f} to {d.high:+.4f}) on {incidents} incidents, {rows:,} rows"
    if d.worse:
        return ShadowVerdict(Decision.WITHHOLD, f"worse than the champion: {measured}", d)
    if not d.better:
        return _wait(f"not shown to be better yet: {measured}", over, pairs.span, d)
    objection = worse_group(pairs) or worse_telling(shadow, champion)
    if objection:
        return ShadowVerdict(Decision.WITHHOLD, f"{objection}; on the whole {measured}", d)
    return ShadowVerdict(Decision.PROMOTE, f"better than the champion: {measured}, no group worse", d)


def worse_group(pairs: Pairs) -> str:
    """The group of entities or of failure modes on which the shadow is worse beyond chance and by a material share."""
    members = [(kind, label, labels == label) for kind, labels in pairs.groups.items() for label in np.unique(labels)]
    judged = [m for m in members if len(np.unique(pairs.cluster[m[2] & pairs.failed])) >= LEAST_GROUP_INCIDENTS]
    judged = sorted(judged, key=lambda m: -int(m[2].sum()))[:MOST_GROUPS]
    for kind, label, own in judged:
        d = paired_difference(
            pairs.excess[own], pairs.cluster[own], pairs.failed[own], GROUP_CHANCE / len(judged), SEED
        )
        usual = float(np.mean((pairs.champion[own] - pairs.failed[own]) ** 2))
        if d.worse and d.mean > MATERIAL * usual:
            return f"worse for {kind} {label}: Brier score {usual + d.mean:.4f}, the champion's {usual:.4f}"
    return ""


def worse_telling(shadow: Told, champion: Told) -> str:
    """Why the warnings of the shadow are worse than the champion's by more than one or two; '' where they are not."""
    lost, won = len(champion.predicted - shadow.predicted), len(shadow.predicted - champion.predicted)
    if lost - won >= 2:
        return f"it does not foresee {lost} incidents that the champion foresees, and foresees {won} others"
    if shadow.false > 2 * champion.false + 2:
        return f"{shadow.false} false alarms, the champion has {champion.false}"
    return ""


def _wait(reason: str, over: bool, span: timedelta, d: Difference | None = None) -> ShadowVerdict:
    if not over:
        return ShadowVerdict(Decision.WAIT, reason, d)
    return ShadowVerdict(Decision.WITHHOLD, f"after {span.total_seconds() / 86400:.0f} days in shadow: {reason}", d)
