"""The table of series and the number that each of them has there."""

import time
from collections.abc import Callable

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from forewarn.features.series_budget import SeriesBudget
from forewarn.telemetry.samples import Kind, Series

_UPSERT = """
insert into metric_series (entity, name, signal, attributes, kind, unit)
select * from unnest(%s::text[], %s::text[], %s::text[], %s::jsonb[], %s::text[], %s::text[])
on conflict (entity, name) do update set kind = excluded.kind, unit = excluded.unit, seen_on = current_date
where (metric_series.kind, metric_series.unit, metric_series.seen_on)
    is distinct from (excluded.kind, excluded.unit, current_date)
"""
_NUMBERS = """
select wanted.i, s.series_id
from unnest(%s::text[], %s::text[]) with ordinality as wanted (entity, name, i)
join metric_series s using (entity, name)
"""
_SERIES = "select series_id, entity, signal, attributes, kind, unit from metric_series"
_DAY_SECONDS = 86_400
_BATCHES_KEPT = 2048
_SERIES_KEPT = 1_000_000


class SeriesNumbers:
    """Numbers of series, remembered: a batch whose `series` tuple was seen before costs one look-up.

    budget: how many series there may be on a day (of the clock), -1 is the number of those beyond; None: no limit.
    Tomorrow there is room again, for those that are sent then.
    """

    def __init__(self, budget: Callable[[], SeriesBudget] | None = None) -> None:
        self._new_budget = budget
        self.budget = budget() if budget else None
        self.refused = 0  # refusals on earlier days
        self._day = time.time() // _DAY_SECONDS
        self._by_series: dict[Series, int] = {}
        # Decoders hand out the same tuple for the same set of series; holding it keeps its id() its own.
        self._by_tuple: dict[int, tuple[tuple[Series, ...], NDArray[np.int64]]] = {}

    def of(self, connection: psycopg.Connection, series: tuple[Series, ...]) -> NDArray[np.int64]:
        """Number of each series, int64 [len(series)]; new ones are registered in a transaction of their own.

        Raises psycopg.Error; then they have no room yet, and may be asked for again.
        """
        if time.time() // _DAY_SECONDS != self._day or len(self._by_series) > _SERIES_KEPT:
            self._forget()
        known = self._by_tuple.get(id(series))
        if known is not None:
            return known[1]
        new = [s for s in series if s not in self._by_series]
        if self.budget is not None:
            new = [s for s in new if self.budget.admit(s)]
        try:
            self._learn(connection, new)
        except psycopg.Error:
            if self.budget is not None:
                for one in new:
                    self.budget.release(one.entity)
            raise
        numbers = np.fromiter((self._by_series.get(s, -1) for s in series), np.int64, len(series))
        if (numbers < 0).any():
            return numbers
        if len(self._by_tuple) >= _BATCHES_KEPT:
            self._by_tuple.clear()
        self._by_tuple[id(series)] = (series, numbers)
        return numbers

    def _forget(self) -> None:
        self._day = time.time() // _DAY_SECONDS
        self._by_series.clear()
        self._by_tuple.clear()
        if self.budget is not None and self._new_budget is not None:
            self.refused += self.budget.refused
            self.budget = self._new_budget()

    def _learn(self, connection: psycopg.Connection, new: list[Series]) -> None:
        if not new:
            return
        connection.commit()
        numbers = _register(connection, new)
        connection.commit()
        self._by_series |= numbers  # only now that they cannot be rolled back


def _register(connection: psycopg.Connection, new: list[Series]) -> dict[Series, int]:
    # One row a name, in one order everywhere: two writers cannot wait for each other.
    rows = sorted({(s.entity, s.name): s for s in new}.items())
    columns = [
        [key[0] for key, _ in rows],
        [key[1] for key, _ in rows],
        [s.signal for _, s in rows],
        [Jsonb(dict(s.attributes)) for _, s in rows],
        [s.kind.name.lower() for _, s in rows],
        [s.unit for _, s in rows],
    ]
    connection.execute(_UPSERT, columns)
    found = connection.execute(_NUMBERS, columns[:2]).fetchall()
    numbers = {rows[position - 1][0]: number for position, number in found}
    return {s: numbers[s.entity, s.name] for s in new}


def stored_series(connection: psycopg.Connection, namespace: str | None = None) -> dict[int, Series]:
    """Series by number; of one namespace ('': of entities without one) or of all."""
    where, values = "", ()  # type: str, tuple[str, ...]
    if namespace == "":
        where = " where strpos(entity, '/') = 0"
    elif namespace is not None:
        where, values = " where starts_with(entity, %s)", (f"{namespace}/",)
    rows = connection.execute((_SERIES + where).encode(), values).fetchall()
    return {
        number: Series(entity, signal, tuple(sorted(attributes.items())), Kind[kind.upper()], unit)
        for number, entity, signal, attributes, kind, unit in rows
    }
