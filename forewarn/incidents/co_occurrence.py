"""Learns which troubles begin together again and again, so that what the service graph does not know is grouped too."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

MIN_TOGETHER = 3  # times; twice is chance
MIN_SHARE = 0.6  # of the times that either of the two began
MIN_LIFT = 3.0  # as often as they would by chance
MAX_CROWD = 12  # where more than so many troubles begin at once, it tells nothing about two of them

Key = tuple[str, str]  # entity, mode


@dataclass(frozen=True, slots=True)
class Opening:
    """A trouble began: event time of the first prediction of an episode, or of a failure that nobody predicted."""

    entity: str
    mode: str
    at: datetime

    @property
    def key(self) -> Key:
        """What is counted."""
        return self.entity, self.mode


@dataclass(frozen=True, slots=True)
class CoOccurrence:
    """Pairs that begin together, with (times together, times that either began)."""

    pairs: dict[frozenset[Key], tuple[int, int]] = field(default_factory=dict)

    def reason(self, one: Key, other: Key) -> str | None:
        """Why the two belong together, in words; None where they do not."""
        counts = self.pairs.get(frozenset((one, other)))
        if counts is None:
            return None
        return f"{one[0]} ({one[1]}) and {other[0]} ({other[1]}) began together {counts[0]} of {counts[1]} times so far"


def learn(openings: Sequence[Opening], window: timedelta) -> CoOccurrence:
    """Count pairs of different entities over occasions: stretches in which no opening is `window` after the one before.

    An occasion counts each trouble once, and is cut after `window` so that a long unrest is not one occasion.
    """
    occasions = _occasions(openings, window)
    single = Counter(key for occasion in occasions for key in occasion)
    together: Counter[frozenset[Key]] = Counter()
    for occasion in occasions:
        if len(occasion) <= MAX_CROWD:
            ordered = sorted(occasion)
            pairs = (frozenset((a, b)) for i, a in enumerate(ordered) for b in ordered[i + 1 :] if a[0] != b[0])
            together.update(pairs)
    spans = _spans(openings, window)
    return CoOccurrence({p: c for p, n in together.items() if (c := _kept(p, n, single, spans)) is not None})


def _kept(pair: frozenset[Key], times: int, single: Counter[Key], spans: float) -> tuple[int, int] | None:
    one, other = pair
    either = single[one] + single[other] - times
    by_chance = single[one] * single[other] / max(spans, 1.0)
    kept = times >= MIN_TOGETHER and times >= MIN_SHARE * either and times >= MIN_LIFT * by_chance
    return (times, either) if kept else None


def _occasions(openings: Sequence[Opening], window: timedelta) -> list[set[Key]]:
    by_namespace: dict[str, list[Opening]] = defaultdict(list)
    for opening in openings:
        by_namespace[opening.entity.partition("/")[0]].append(opening)
    occasions: list[set[Key]] = []
    for mine in by_namespace.values():
        start: datetime | None = None
        for opening in sorted(mine, key=lambda o: o.at):
            if start is None or opening.at - start > window:
                occasions.append(set())
                start = opening.at
            occasions[-1].add(opening.key)
    return occasions


def _spans(openings: Sequence[Opening], window: timedelta) -> float:
    """How many windows the history has room for."""
    if not openings:
        return 0.0
    return (max(o.at for o in openings) - min(o.at for o in openings)) / window
