"""How bad an incident is: probability x time left x how many services and users hang on it, with hysteresis."""

import math
from dataclasses import dataclass

HALF_URGENT_SECONDS = 4 * 3600.0  # with so much time left, the urgency is one half
THRESHOLDS = (("critical", 0.65), ("warning", 0.30))
STICKINESS = 0.8  # it falls a level only below this share of the level's threshold
_RANK = {"info": 0, "warning": 1, "critical": 2}


@dataclass(frozen=True, slots=True)
class Severity:
    """The level and the numbers it came from."""

    level: str
    reason: str


def severity_of(
    probability: float,
    seconds_left: float,
    dependants: int,
    firing: bool,
    previous: str | None,
    users_share: float = 0.0,
) -> Severity:
    """Score = probability x 1/(1 + time left/4 h) x impact, which is at most 2.

    Impact is the higher of 1 + log2(1 + dependants)/4 and 1 + the share of users (0 to 1) who are seen at the entity
    or at what depends on it: few services may hang on a front door, but everybody comes in by it. What has failed is
    critical. A level once reached is left only below 80 % of its threshold.
    """
    if firing:
        return Severity("critical", "it has failed")
    urgency = 1 / (1 + max(seconds_left, 0.0) / HALF_URGENT_SECONDS)
    impact = min(1 + max(math.log2(1 + dependants) / 4, users_share), 2.0)
    score = probability * urgency * impact
    seen = f" ({users_share:.0%} of users)" if users_share else ""
    reason = f"probability {probability:.2f} x urgency {urgency:.2f} x impact {impact:.2f}{seen} = {score:.2f}"
    for level, threshold in THRESHOLDS:
        held = previous is not None and _RANK[previous] >= _RANK[level]
        if score >= threshold * (STICKINESS if held else 1.0):
            return Severity(level, f"{reason} (threshold of {level}: {threshold:.2f}{', held' if held else ''})")
    return Severity("info", f"{reason} (threshold of warning: {THRESHOLDS[-1][1]:.2f})")
