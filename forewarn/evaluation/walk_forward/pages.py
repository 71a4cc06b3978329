"""What a method told about one recording: pages, each with its estimates of the time to the failure."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate at a time (all in seconds; `at` since 1970): quantiles of the time left."""

    at: float
    p10: float
    p50: float
    p90: float


@dataclass(slots=True)
class Page:
    """A risk that was told about a limited signal and stayed open over [start, end], seconds since 1970.

    causes: (entity, signal) as the page named them when it was told, most likely first.
    """

    entity: str
    signal: str
    mode: str
    start: float
    end: float
    causes: list[tuple[str, str]]
    estimates: list[Estimate] = field(default_factory=list)
