"""One partition of metric_samples a day (UTC), made when the first sample of a day comes."""

from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from forewarn.stores.locks import Lock

_DAY_NANOSECONDS = 86_400 * 10**9
_PARTITIONED = "select relkind = 'p' from pg_class where oid = 'metric_samples'::regclass"
_ATTACHED = "select 1 from pg_inherits where inhrelid = to_regclass(%s) and inhparent = 'metric_samples'::regclass"


class SamplePartitions:
    """Makes the partitions that samples need. A TimescaleDB hypertable makes its own."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._partitioned: bool | None = None

    def ensure(self, connection: psycopg.Connection, times: NDArray[np.int64]) -> None:
        """Make what is missing for these times (nanoseconds since 1970), in a transaction of its own."""
        missing = set(np.unique(times // _DAY_NANOSECONDS).tolist()) - self._known
        if not missing:
            return
        if self._partitioned is None:
            self._partitioned = bool((connection.execute(_PARTITIONED).fetchone() or (False,))[0])
        connection.commit()
        if self._partitioned:
            connection.execute("select pg_advisory_xact_lock(%s)", (Lock.MAKE_PARTITION.value,))
            for day in sorted(missing):
                _make(connection, day)
            connection.commit()
        self._known |= missing

    def forget(self) -> None:
        """Look again next time: somebody dropped a partition."""
        self._known.clear()


def _make(connection: psycopg.Connection, day: int) -> None:
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
    name = f"metric_samples_{start:%Y%m%d}"
    if connection.execute(_ATTACHED, (name,)).fetchone():
        return
    # Attached, not 'partition of': that would lock out every reader of the table for a moment.
    connection.execute(
        sql.SQL("create table if not exists {} (like metric_samples including defaults)").format(sql.Identifier(name))
    )
    connection.execute(
        sql.SQL("alter table metric_samples attach partition {} for values from ({}) to ({})").format(
            sql.Identifier(name), start, start + timedelta(days=1)
        )
    )
