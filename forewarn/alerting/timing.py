"""Decides whether people are told now or at the next working hour: now, if the breach could come before a fix."""

import itertools
from dataclasses import dataclass
from datetime import datetime

from forewarn.alerting.calendars import WorkingHours, zone
from forewarn.alerting.fix_times import FixTime
from forewarn.risk.quantities import format_duration, format_share
from forewarn.risk.records import TimeToFailure


@dataclass(frozen=True, slots=True)
class Timing:
    """until: None where they are told now. why: the numbers; empty where there was nothing to decide."""

    until: datetime | None
    why: str


def when_to_tell(
    ttf: TimeToFailure | None, elapsed_seconds: float, now: datetime, hours: WorkingHours | None, fix: FixTime,
    accepted_risk: float,
) -> Timing:  # fmt: skip
    """Wait for the next working hour where the probability of a breach before a fix that begins then is accepted.

    ttf: time to failure as of the prediction; None: it has failed. elapsed_seconds: event time since then.
    """
    if hours is None or hours.contains(now):
        return Timing(None, "")
    local = now.astimezone(zone(hours.timezone))
    if ttf is None:
        return Timing(None, f"told now, outside working hours ({local:%a %H:%M}): it has failed")
    start = hours.next_start(now)
    if start is None:
        return Timing(None, "told now: there is no working hour within a year")
    deadline = (start - now + fix.p80).total_seconds()
    probability = breach_probability(ttf, elapsed_seconds, deadline)
    when = f"{start.astimezone(zone(hours.timezone)):%a %H:%M}"
    too_late = probability > accepted_risk
    facts = (
        f"a fix that begins {when if too_late else 'then'} is done in {format_duration(deadline)} (80 % take up to "
        f"{format_duration(fix.p80.total_seconds())}, {_source(fix)}); probability of a breach before: "
        f"{format_share(probability)}, accepted: {format_share(accepted_risk)}"
    )
    if too_late:
        return Timing(None, f"told now, outside working hours ({local:%a %H:%M}): {facts}")
    return Timing(start, f"waits until {when}: {facts}")


def breach_probability(ttf: TimeToFailure, elapsed_seconds: float, within_seconds: float) -> float:
    """Probability that it fails within so many seconds from now, given that it has not so far.

    The distribution is linear between its quantiles; a quantile that is None lies beyond what was said, so the
    probability rises no further there.
    """
    before = _distribution(ttf, elapsed_seconds)
    after = _distribution(ttf, elapsed_seconds + within_seconds)
    alive = 1.0 - (1.0 - ttf.never) * before
    return (1.0 - ttf.never) * (after - before) / alive if alive > 1e-9 else 1.0


def _distribution(ttf: TimeToFailure, seconds: float) -> float:
    """P(time <= seconds | it fails)."""
    points = [(0.0, 0.0)]
    points += [(t, share) for t, share in ((ttf.p10, 0.1), (ttf.p50, 0.5), (ttf.p90, 0.9)) if t is not None]
    if ttf.p90 is not None:
        points.append((max(1.5 * ttf.p90, ttf.p90 + 1.0), 1.0))  # the tail beyond p90 is not known: half as long again
    for (t0, p0), (t1, p1) in itertools.pairwise(points):
        if seconds < t1:
            return p0 + (p1 - p0) * (seconds - t0) / max(t1 - t0, 1e-9)
    return points[-1][1]


def _source(fix: FixTime) -> str:
    if fix.learned_from == 0:
        return "not learned yet"
    return f"learned from {fix.learned_from} incident{'s' if fix.learned_from > 1 else ''}"
