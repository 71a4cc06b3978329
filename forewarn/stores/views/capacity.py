"""What fills up within a week: the newest capacity forecasts, the likeliest first."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import psycopg

from forewarn.risk.capacity import CapacityForecast

_ROWS = """
select payload::text, telling->>'identity' from capacity_forecasts {where}
order by probability_7d desc, p50_seconds nulls last, entity, signal limit %(most)s
"""
_decoder = msgspec.json.Decoder(CapacityForecast)


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
