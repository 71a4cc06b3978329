"""Roll-ups of samples: minimum, maximum, mean, count and last value of 5 minutes and of an hour.

Whoever stores samples names the 5-minute cells that they fall into, in the same transaction. A cell that is named is
computed anew from its samples, so that late data counts and a repetition changes nothing.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
from numpy.typing import NDArray

FIVE_MINUTES = timedelta(minutes=5)
HOUR = timedelta(hours=1)
WIDTHS = {FIVE_MINUTES: "metric_rollups_5m", HOUR: "metric_rollups_1h"}

_CELL_NANOSECONDS = 300 * 10**9
_COLUMNS = "series_id, time, min, max, mean, count, last"
_REPLACE = """on conflict (series_id, time) do update set
    min = excluded.min, max = excluded.max, mean = excluded.mean, count = excluded.count, last = excluded.last"""
_KEEP = "on conflict (series_id, time) do nothing"
# PostgreSQL's avg fails beyond 1e154, and with it the roll-up of all others.
# Stale marks are NaN, which PostgreSQL holds equal to itself.
_FROM_SAMPLES = """
insert into metric_rollups_5m ({columns})
select series_id, date_bin('5 min', time, '2000-01-01+00') as cell, min(value), max(value),
       avg(least(greatest(value, -1e150), 1e150)), count(*),
       (array_agg(value order by time desc))[1]
from metric_samples
where time >= %(start)s and time < %(stop)s and value <> 'NaN'
  and date_bin('5 min', time, '2000-01-01+00') = any(%(cells)s)
group by series_id, cell {conflict}
"""
# An hour is made of cells that are kept as long as it is: it can be replaced also where samples are gone.
_FROM_CELLS = """
insert into metric_rollups_1h ({columns})
select series_id, %(hour)s, min(min), max(max), sum(mean * count) / sum(count), sum(count)::bigint,
       (array_agg(last order by time desc))[1]
from metric_rollups_5m where time >= %(hour)s and time < %(hour)s + interval '1 hour'
  and series_id in (select series_id from metric_rollups_5m where time = any(%(cells)s))
group by series_id {replace}
"""
_NAME_ALL = """
insert into rollup_pending (cell, recorded_at)
select distinct date_bin('5 min', time, '2000-01-01+00'), timestamptz 'epoch' from metric_samples
where not exists (select from metric_rollups_5m) and not exists (select from rollup_pending)
"""
_DUE = """
select cell from rollup_pending group by cell
having max(recorded_at) < clock_timestamp() - %(quiet)s or min(recorded_at) < clock_timestamp() - %(longest)s
order by cell limit 2000
"""


def cells_of(times: NDArray[np.int64]) -> list[datetime]:
    """The 5-minute cells that times (nanoseconds since 1970) fall into."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return [epoch + timedelta(seconds=300 * int(cell)) for cell in np.unique(times // _CELL_NANOSECONDS)]


def name_pending(connection: psycopg.Connection, cells: Iterable[datetime]) -> None:
    """Have these cells rolled up, once the caller's transaction is committed."""
    cells = list(cells)
    if cells:
        connection.execute("insert into rollup_pending (cell) select unnest(%s::timestamptz[])", (cells,))


def name_all_pending(connection: psycopg.Connection) -> None:
    """Have all samples rolled up if none is yet: those of an archive that is older than its roll-ups."""
    with connection.transaction():
        connection.execute(_NAME_ALL)


def roll_up_due(
    connection: psycopg.Connection,
    kept_from: datetime | None = None,
    quiet: timedelta = timedelta(seconds=30),
    longest: timedelta = timedelta(minutes=5),
) -> int:
    """Roll up cells that got nothing for `quiet`, or wait for `longest`; returns how many. One transaction an hour.

    kept_from: samples before it may have been dropped, so that cells that were rolled up there stay as they are.
    Raises psycopg.Error.
    """
    rows = connection.execute(_DUE, {"quiet": quiet, "longest": longest}).fetchall()
    connection.commit()
    hours: dict[datetime, list[datetime]] = {}
    for (cell,) in rows:
        utc = cell.astimezone(UTC)
        hours.setdefault(utc.replace(minute=0, second=0, microsecond=0), []).append(utc)
    for hour, cells in hours.items():
        with connection.transaction():
            _roll_up(connection, hour, cells, keep=kept_from is not None and hour < kept_from)
    return len(rows)


def _roll_up(connection: psycopg.Connection, hour: datetime, cells: list[datetime], keep: bool) -> None:
    # First: what is named from here on is rolled up again, and what was named before is visible to what follows.
    connection.execute("delete from rollup_pending where cell = any(%s)", (cells,))
    conflict = _KEEP if keep else _REPLACE
    values = {"start": cells[0], "stop": cells[-1] + FIVE_MINUTES, "cells": cells, "hour": hour}
    connection.execute(_FROM_SAMPLES.format(columns=_COLUMNS, conflict=conflict).encode(), values)
    # The statistics do not know the newest hour yet: PostgreSQL takes its cells for a single row and compares every
    # series with every other (measured: more than 8 minutes for 120,000 series, in place of a second).
    connection.execute("set local enable_nestloop = off")
    connection.execute(_FROM_CELLS.format(columns=_COLUMNS, replace=_REPLACE).encode(), values)


def best_width(cell: timedelta) -> timedelta | None:
    """The widest roll-up that fills cells of this width with at least four of its own; None: read samples."""
    fitting = [width for width in WIDTHS if cell >= 4 * width]
    return max(fitting) if fitting else None
