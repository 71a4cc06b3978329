"""Past incidents that were like one, with what became of them and how long it took to mend them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from forewarn.incidents.narrative import MAX_DRIVERS
from forewarn.incidents.records import Incident
from forewarn.risk.quantities import format_duration

MIN_SIMILARITY = 0.3
_WEIGHTS = {"mode": 2.0, "entity": 2.0, "signal": 1.0, "driver": 1.0}


@dataclass(frozen=True, slots=True)
class PastIncident:
    """One that is over. ended_at: event time of its last change. verdict, note, author: what an engineer said last."""

    incident: Incident
    ended_at: datetime
    verdict: str = ""
    note: str = ""
    author: str = ""

    @property
    def mended_after_seconds(self) -> float | None:
        """From failure to recovery; None where it did not fail or did not recover."""
        failed_at = self.incident.failed_at
        if failed_at is None or self.incident.state != "resolved":
            return None
        return max((self.ended_at - failed_at).total_seconds(), 0.0)


@dataclass(frozen=True, slots=True)
class SimilarIncident:
    """A past incident and how like it is: weighted Jaccard index, 0 to 1. shared: what both have, in words."""

    past: PastIncident
    similarity: float
    shared: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """`The last one like it (2026-03-02 14:10 UTC) was mended in 25 min: raised the pool.`"""
        p = self.past
        note = f": {p.note}" if p.note else ""
        when = f"{p.incident.opened_at:%Y-%m-%d %H:%M} UTC"
        if p.verdict in ("averted", "dismissed"):
            what = "was averted" if p.verdict == "averted" else "was called a false alarm"
        elif (seconds := p.mended_after_seconds) is not None:
            what = f"was over {format_duration(seconds)} after it failed"
        else:
            what = {"expired": "did not come true", "withdrawn": "was withdrawn"}.get(p.incident.state, "is over")
        return f"The last one like it ({when}) {what}{note}."


def traits(incident: Incident) -> dict[tuple[str, str], float]:
    """What incidents are compared by, with weights: mode, entity, signal without attributes, strongest drivers."""
    found = [("mode", incident.mode), ("entity", incident.entity), ("signal", incident.signal.partition("{")[0])]
    found += [("driver", f"{d.entity} {d.signal}".partition("{")[0]) for d in incident.drivers[:MAX_DRIVERS]]
    return {trait: _WEIGHTS[trait[0]] for trait in found}


def similarity(one: Incident, other: Incident) -> tuple[float, tuple[str, ...]]:
    """Weighted Jaccard index of their traits, and the traits that both have."""
    a, b = traits(one), traits(other)
    both = sorted(set(a) & set(b), key=lambda trait: (-a[trait], trait))
    either = sum((a | b).values())
    return sum(a[t] for t in both) / either, tuple(f"{kind} {name}" for kind, name in both)


def similar(incident: Incident, past: Sequence[PastIncident], limit: int = 5) -> list[SimilarIncident]:
    """Those most like it, the latest first among equals; merged ones are told by what they were merged into."""
    found = []
    for candidate in past:
        if candidate.incident.incident_id == incident.incident_id or candidate.incident.state == "merged":
            continue
        share, both = similarity(incident, candidate.incident)
        if share >= MIN_SIMILARITY:
            found.append(SimilarIncident(candidate, round(share, 3), both))
    return sorted(found, key=lambda s: (-s.similarity, -s.past.incident.opened_at.timestamp()))[:limit]
