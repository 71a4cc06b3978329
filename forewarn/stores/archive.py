"""The archive of metrics: every sample by series and time, in PostgreSQL."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
import psycopg
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.features.series_budget import SeriesBudget
from forewarn.stores.locks import Lock
from forewarn.stores.metric_series import SeriesNumbers, stored_series
from forewarn.stores.rollups import cells_of, name_pending
from forewarn.stores.sample_partitions import SamplePartitions
from forewarn.stores.sample_rows import decode_rows, encode_rows
from forewarn.telemetry.samples import SampleBatch, Series, namespace_of

SCHEMA = pa.schema(
    [
        ("series_id", pa.string()),  # Series.id
        ("entity", pa.string()),
        ("name", pa.string()),  # Series.name
        ("signal", pa.string()),
        ("kind", pa.string()),  # gauge, cumulative, delta
        ("unit", pa.string()),
        ("time", pa.timestamp("us", tz="UTC")),
        ("value", pa.float64()),
    ]
)


# The bounds let PostgreSQL leave out the days that are not concerned.
_INSERT_MISSING = """
insert into metric_samples (series_id, time, value)
select distinct on (series_id, time) series_id, time, value from imported_samples n
where not exists (
    select from metric_samples m where m.series_id = n.series_id and m.time = n.time
    and m.time >= (select min(time) from imported_samples) and m.time <= (select max(time) from imported_samples))
"""


class MetricArchive(Protocol):
    """Where samples are kept. Whole batches go in, columns come out."""

    def append(self, batch: SampleBatch) -> None:
        """Keep the samples; a sample that is appended twice is there twice."""

    def read_samples(self, namespace: str, start: datetime, stop: datetime) -> pa.Table:
        """Samples of a namespace with start <= time < stop as `SCHEMA`, by series id, then time.

        Text columns of tens of millions of rows take much memory: read in pieces of a day or an hour.
        """

    def series(self) -> list[Series]:
        """Every series there is, by id."""


class PostgresMetricArchive:
    """`MetricArchive` in the tables metric_series and metric_samples."""

    def __init__(self, postgres_url: str) -> None:
        self._url = postgres_url
        self._writer = SampleWriter()

    def append(self, batch: SampleBatch) -> None:
        """See MetricArchive. Raises psycopg.Error."""
        with psycopg.connect(self._url) as connection:
            self._writer.write(connection, [batch])

    def read_samples(self, namespace: str, start: datetime, stop: datetime, *, dictionaries: bool = False) -> pa.Table:
        """See MetricArchive; `dictionaries`: the texts as dictionaries, which takes a tenth of the time and memory.
        Raises psycopg.Error."""
        with psycopg.connect(self._url) as connection:
            known = stored_series(connection, namespace)
            ids, times, values = _copy_out(connection, known, start, stop)
        numbers = np.fromiter(known, np.int64, len(known))
        order = np.argsort(numbers)
        index = order[np.searchsorted(numbers, ids, sorter=order)] if len(ids) else np.empty(0, np.int64)
        return samples_table(tuple(known.values()), index, times, values, dictionaries=dictionaries)

    def count_samples(self, namespace: str, start: datetime, stop: datetime) -> int:
        """How many `read_samples` would return. Raises psycopg.Error."""
        query = "select count(*) from metric_samples where time >= %s and time < %s and series_id = any(%s)"
        with psycopg.connect(self._url) as connection:
            known = list(stored_series(connection, namespace))
            row = connection.execute(query, (start, stop, known)).fetchone()
        return int(row[0]) if row else 0

    def series(self) -> list[Series]:
        """See MetricArchive. Raises psycopg.Error."""
        with psycopg.connect(self._url) as connection:
            return sorted(stored_series(connection).values(), key=lambda s: s.id)


class SampleWriter:
    """Writes batches into a transaction of the caller's, by COPY."""

    def __init__(self, budget: Callable[[], SeriesBudget] | None = None) -> None:
        """budget: see SeriesNumbers; samples of series beyond it are left out."""
        self.numbers = SeriesNumbers(budget)
        self._partitions = SamplePartitions()

    def prepare(self, connection: psycopg.Connection, batches: Iterable[SampleBatch]) -> "PreparedSamples | None":
        """Register the series and days of the batches (committed at once) and return what `copy` takes."""
        batches = [batch for batch in batches if len(batch)]
        if not batches:
            return None
        ids = np.concatenate([self.numbers.of(connection, batch.series)[batch.index] for batch in batches])
        times = np.concatenate([batch.times for batch in batches])
        values = np.concatenate([batch.values for batch in batches])
        if (ids < 0).any():
            kept = ids >= 0
            ids, times, values = ids[kept], times[kept], values[kept]
        self._partitions.ensure(connection, times)
        rows = encode_rows(ids, times, values)
        return PreparedSamples(rows, cells_of(times))

    def copy(self, connection: psycopg.Connection, prepared: "PreparedSamples") -> None:
        """Copy what `prepare` returned, in the open transaction."""
        statement = "copy metric_samples (series_id, time, value) from stdin (format binary)"
        try:
            with connection.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write(prepared.rows)
        except psycopg.errors.CheckViolation:  # no partition: retention dropped one that we knew
            self._partitions.forget()
            raise
        name_pending(connection, prepared.cells)

    def copy_missing(self, connection: psycopg.Connection, prepared: "PreparedSamples") -> int:
        """Copy those that are not there (same series, same time), in the open transaction; returns how many.

        Two callers wait for each other; what an archiver stores in the same moment is not seen.
        """
        connection.execute("select pg_advisory_xact_lock(%s)", (Lock.IMPORT_SAMPLES.value,))
        connection.execute("create temp table imported_samples (like metric_samples) on commit drop")
        statement = "copy imported_samples (series_id, time, value) from stdin (format binary)"
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(prepared.rows)
        connection.execute("analyze imported_samples")
        try:
            new = connection.execute(_INSERT_MISSING).rowcount
        except psycopg.errors.CheckViolation:
            self._partitions.forget()
            raise
        connection.execute("drop table imported_samples")
        if new:
            name_pending(connection, prepared.cells)
        return new

    def write(self, connection: psycopg.Connection, batches: Iterable[SampleBatch]) -> None:
        """`prepare`, `copy` and commit."""
        prepared = self.prepare(connection, batches)
        if prepared is not None:
            self.copy(connection, prepared)
        connection.commit()


@dataclass(frozen=True, slots=True)
class PreparedSamples:
    """rows: samples in PostgreSQL's binary COPY format. cells: the 5-minute cells that they fall into."""

    rows: bytes
    cells: list[datetime]


def samples_table(
    series: Sequence[Series],
    index: NDArray[np.int64],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    *,
    dictionaries: bool = False,
) -> pa.Table:
    """Samples as `SCHEMA`; `dictionaries`: its texts as such. index: which series; times in microseconds."""
    rank = np.empty(len(series), np.int64)
    rank[sorted(range(len(series)), key=lambda i: series[i].id)] = np.arange(len(series))
    order = np.lexsort((times, rank[index])) if len(index) else np.empty(0, np.int64)
    which = pa.array(index[order])
    texts = (
        [s.id for s in series],
        [s.entity for s in series],
        [s.name for s in series],
        [s.signal for s in series],
        [s.kind.name.lower() for s in series],
        [s.unit for s in series],
    )
    numbers = [pa.array(times[order], pa.timestamp("us", tz="UTC")), pa.array(values[order])]
    if dictionaries:
        coded = [_coded(text, index[order]) for text in texts]
        return pa.Table.from_arrays([*coded, *numbers], names=SCHEMA.names)
    columns = [pa.array(text, pa.string()).take(which) for text in texts]
    return pa.Table.from_arrays([*columns, *numbers], schema=SCHEMA)


def _coded(texts: list[str], index: NDArray[np.int64]) -> pa.DictionaryArray:
    distinct, code = np.unique(np.array(texts, object), return_inverse=True) if texts else ([], np.empty(0, np.int64))
    return pa.DictionaryArray.from_arrays(pa.array(code.astype(np.int32)[index]), pa.array(list(distinct), pa.string()))


def in_namespace(series: Series, namespace: str) -> bool:
    """Whether a series is one of the namespace's ('': of entities without a namespace)."""
    return namespace_of(series.entity) == namespace


def microseconds(time: datetime) -> int:
    """Microseconds since 1970 UTC, exactly."""
    since = time.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _copy_out(
    connection: psycopg.Connection, known: dict[int, Series], start: datetime, stop: datetime
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    statement = """
        copy (select series_id, time, value from metric_samples
              where time >= {} and time < {} and series_id = any({})) to stdout (format binary)
    """
    query = psycopg.sql.SQL(statement).format(start, stop, list(known))
    data = bytearray()
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        for piece in copy:
            data += piece
    return decode_rows(data)
