"""What fills up within a week: the newest capacity forecasts, the likeliest first."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import psycopg
from psycopg.rows import class_row

from forewarn.risk.capacity import CapacityForecast

_ROWS = """
select payload::text, telling->>'identity' from capacity_forecasts {where}
order by probability_7d desc, p50_seconds nulls last, entity, signal limit %(most)s
"""
_FILLING = """
select entity, signal, mode, made_at, value, limit_value, unit, p10_seconds, p50_seconds, p90_seconds, probability_7d,
       coalesce(telling->>'identity', '') as episode
from capacity_forecasts where probability_7d >= %s and value < limit_value
order by p50_seconds nulls last, probability_7d desc, entity, signal limit %s
"""
_decoder = msgspec.json.Decoder(CapacityForecast)


@dataclass(frozen=True, slots=True)
class Filling:
    """A line of the table of what fills up. Quantiles are seconds after `made_at`, None: beyond a week."""

    entity: str
    signal: str
    mode: str
    made_at: datetime
    value: float
    limit_value: float
    unit: str
    p10_seconds: float | None
    p50_seconds: float | None
    p90_seconds: float | None
    probability_7d: float
    episode: str  # of its open risk, '' where none was told

    @property
    def median_at(self) -> datetime | None:
        """When it is at its limit with a probability of a half; None: beyond a week."""
        return None if self.p50_seconds is None else self.made_at + timedelta(seconds=self.p50_seconds)


@dataclass(frozen=True, slots=True)
class Capacity:
    """A forecast and the episode of its open risk, '' where none was told."""

    forecast: CapacityForecast
    episode: str

    @property
    def median_at(self) -> datetime | None:
        """When it is at its limit with a probability of a half; None: beyond a week."""
        seconds = self.forecast.p50
        return None if seconds is None else self.forecast.made_at + timedelta(seconds=seconds)


def capacity_view(
    connection: psycopg.Connection[Any], entity: str | None = None, signal: str | None = None, most: int = 1000
) -> list[Capacity]:
    """Newest forecasts of all entities, of one, or of one signal of it: the likeliest to fill up within 7 d first.

    Each holds its `fan` for a picture (`forewarn.risk.records.Forecast`, seconds from `made_at`).
    """
    conditions = [f"{name} = %({name})s" for name, given in (("entity", entity), ("signal", signal)) if given]
    where = f"where {' and '.join(conditions)}" if conditions else ""
    parameters = {"entity": entity, "signal": signal, "most": most}
    rows = connection.execute(_ROWS.format(where=where).encode(), parameters).fetchall()
    return [Capacity(_decoder.decode(payload), episode or "") for payload, episode in rows]


def filling(connection: psycopg.Connection[Any], at_least: float = 0.1, most: int = 20) -> list[Filling]:
    """What fills up within 7 d with a probability of `at_least`, the soonest first; cheap: without pictures."""
    with connection.cursor(row_factory=class_row(Filling)) as cursor:
        return cursor.execute(_FILLING.encode(), (at_least, most)).fetchall()
