"""The sentence about a load that bends a response time, an error rate or a queue, with all of its numbers."""

from dataclasses import dataclass

import numpy as np

from forewarn.features.definitions import INDEX
from forewarn.risk.catalogue import failure_mode
from forewarn.risk.drivers import Subject
from forewarn.risk.quantities import format_number, format_share, format_value
from forewarn.telemetry.samples import Series

_SLOW = 0.05  # a response time this far above its day's is slow
_GROWS = 0.01  # of the critical load in 60 steps, from which on growth is told


@dataclass(frozen=True, slots=True)
class Bent:
    """A load that bends a signal: its rate now, its slope in 60 steps and the rate at which the signal reaches its
    limit (10, 50 and 90 % quantile), all in requests per second; the share of the signal's variance that load
    explains; the risk, and the risk with the load held."""

    load: Series
    rate: float
    slope: float
    critical: tuple[float, float, float]
    explained: float
    risk: float
    held: float


def sentence(subject: Subject, bent: Bent, step_seconds: float) -> str:
    """A noun phrase ('driven by …')."""
    s, load = subject.series, bent.load
    what = failure_mode(s.signal).what
    slow = float(np.expm1(subject.features[INDEX["latency_ratio"]]))
    with_latency = f" and slow response time (+{format_share(slow)} on its day)" if _is_other(s, slow) else ""
    low, middle, high = (format_number(float(f"{c:.3g}")) for c in bent.critical)
    per_hour = bent.slope * 60.0 / step_seconds
    grows = f", growing by {format_number(float(f'{per_hour:.2g}'))}/s per hour" if _grows(bent) else ""
    value, limit = (format_value(v, s.unit, s.signal) for v in (subject.value, subject.limit))
    return (
        f"correlated user load{with_latency}: {load.name} of {load.entity} is {_rate(bent.rate)}/s{grows}, and at "
        f"{middle}/s (80 %: {low} to {high}) the {what}, now {value}, would reach {limit}; load explains "
        f"{format_share(bent.explained)} of it, and with the load held the risk falls from {format_share(bent.risk)} "
        f"to {format_share(bent.held)}"
    )


def _is_other(series: Series, slow: float) -> bool:
    """Whether a slow response time is worth telling beside the signal itself."""
    return slow > _SLOW and failure_mode(series.signal).mode != "latency_breach"


def _grows(bent: Bent) -> bool:
    return bent.slope > _GROWS * bent.critical[1]


def _rate(value: float) -> str:
    return format_number(float(f"{value:.3g}"))
