"""How long fixes take, learned by failure mode from incidents that ended, with a prior for those never seen."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

PRIOR_WEIGHT = 3.0  # the prior counts as so many incidents
PRIOR_SIGMA = 0.8  # of the logarithm: two of three fixes take between 0.45 and 2.2 times the median
DEFAULT_PRIOR = timedelta(minutes=45)
PRIORS = {  # what a person needs at the keyboard, told and awake: orders of magnitude, learned away soon
    "disk_full": timedelta(minutes=45),
    "memory_exhaustion": timedelta(minutes=30),
    "fd_exhaustion": timedelta(minutes=30),
    "connection_exhaustion": timedelta(minutes=30),
    "cpu_saturation": timedelta(hours=1),
    "latency_breach": timedelta(hours=1),
    "error_rate_climb": timedelta(hours=1),
}
_Z = {0.5: 0.0, 0.8: 0.8416, 0.9: 1.2816}


@dataclass(frozen=True, slots=True)
class FixTime:
    """Median and the 80 % quantile of the time that a fix takes, and of how many incidents they were learned."""

    median: timedelta
    p80: timedelta
    learned_from: int


def fix_time(seconds: Sequence[float], prior_median: timedelta) -> FixTime:
    """Log-normal with a conjugate prior (a mean that counts as PRIOR_WEIGHT observations, plug-in variance).

    seconds: durations of fixes that were seen. What is not positive is left out.
    """
    logs = [math.log(s) for s in seconds if s > 0]
    weight = PRIOR_WEIGHT + len(logs)
    mean = (PRIOR_WEIGHT * math.log(prior_median.total_seconds()) + sum(logs)) / weight
    spread = PRIOR_WEIGHT * (PRIOR_SIGMA**2 + (math.log(prior_median.total_seconds()) - mean) ** 2)
    sigma = math.sqrt((spread + sum((x - mean) ** 2 for x in logs)) / weight)
    return FixTime(timedelta(seconds=math.exp(mean)), timedelta(seconds=math.exp(mean + _Z[0.8] * sigma)), len(logs))


class FixTimes:
    """Fix times of all modes. seen: durations in seconds by mode. priors: those of the alerting file."""

    def __init__(
        self, seen: Mapping[str, Sequence[float]] | None = None, priors: Mapping[str, timedelta] | None = None
    ) -> None:
        self._seen, self._priors = seen or {}, {**PRIORS, **(priors or {})}

    def of(self, mode: str) -> FixTime:
        """That of a mode."""
        prior = self._priors.get(mode, DEFAULT_PRIOR)
        return fix_time(self._seen.get(mode, ()), max(prior, timedelta(seconds=1)))
