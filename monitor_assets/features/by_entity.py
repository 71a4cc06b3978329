"""Windows and features by Spark, one entity at a time: for history that does not fit into memory.

The arithmetic is that of the other way, `GridFiller` and `feature_rows`: nothing of a series depends on what is not of
its entity. Executors write and read the arrays of the windows where the history is, so all of them must see that
folder; no sample and no window passes through the driver.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo import store as feature_store
from forewarn.features.definitions import FEATURE_NAMES
from forewarn.features.grid import GridFiller, grid_start, limits_grid
from forewarn.stores.archive import microseconds
from forewarn.telemetry.samples import Series
from monitor_assets.features.signal_features import feature_cells, feature_rows
from monitor_assets.history import History, SignalWindows, WindowFiles

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

I64 = NDArray[np.int64]
Batches = Iterator[pa.RecordBatch]


def write_windows(spark: "SparkSession", history: History, step_seconds: float) -> SignalWindows:
    """Windows of the raw samples of a namespace, as `windows_of` makes and `History.write_windows` keeps them.

    Raises dagster.Failure where there are no samples.
    """
    from pyspark.sql import functions

    samples = _samples(spark, history)
    extent = functions.min("us").alias("first"), functions.max("us").alias("last")
    ends = samples.groupBy("series_id").agg(*extent).toPandas()
    if ends.empty:
        raise dg.Failure(f"no raw samples in {history.folder}: the interval holds none, or raw_metrics did not run")
    known = history.read_series()
    series = [known[name] for name in sorted(ends["series_id"])]
    start = grid_start(int(ends["first"].min()) * 1000, step_seconds)
    cells = (int(ends["last"].max()) * 1000 - start) // int(step_seconds * 1e9) + 1
    filling = Filling(history.new_windows(len(series), cells), tuple(series), _groups(series), start, step_seconds)
    rows = _numbered(spark, samples, filling).mapInArrow(filling, "limited int").toPandas()
    history.finish_windows(series, np.sort(rows["limited"].to_numpy(np.int64)), start, step_seconds)
    return history.read_windows()


def entity_features(spark: "SparkSession", history: History) -> pa.Table:
    """Rows for the feature store, as `feature_rows` makes them of all windows at once."""
    windows = history.read_windows()
    groups, limited = _groups(windows.series), windows.limited
    with_limit = np.unique(np.searchsorted(groups, limited, side="right") - 1)
    pieces = spark.createDataFrame(pd.DataFrame({"first": groups[with_limit], "stop": groups[with_limit + 1]}))
    featuring = Featuring(history, feature_cells(len(limited), windows.cells.shape[1]))
    schema = "number int, us long, " + ", ".join(f"{name} double" for name in FEATURE_NAMES)
    tasks = min(len(with_limit), 4 * spark.sparkContext.defaultParallelism)
    found = pieces.repartition(tasks).mapInArrow(featuring, schema).toPandas().sort_values(["number", "us"])
    ids = pa.array([s.id for s in windows.series]).take(pa.array(found["number"])).to_pylist()
    return feature_store.features_table(ids, found["us"].to_numpy(), found[list(FEATURE_NAMES)].to_numpy())


@dataclass(frozen=True, slots=True)
class Filling:
    """Fills the windows of entities from their samples, which come by entity, series and time.

    groups: where each entity's series begin, int64 [entities + 1].
    """

    files: WindowFiles
    series: tuple[Series, ...]
    groups: I64
    start_ns: int
    step_seconds: float

    def __call__(self, batches: Batches) -> Batches:
        """Batches (entity, number, us, value) to the numbers of the series that have a limit."""
        entity, filler = -1, None
        for batch in batches:
            columns = [batch.column(i).to_numpy(zero_copy_only=False) for i in range(4)]
            cuts = np.flatnonzero(np.diff(columns[0])) + 1
            for begin, end in pairwise([0, *cuts.tolist(), len(columns[0])] if batch.num_rows else []):
                of, number, us, value = (column[begin:end] for column in columns)
                if of[0] != entity:
                    if filler is not None:
                        yield self._finish(entity, filler)
                    entity = int(of[0])
                    filler = GridFiller(
                        [s.kind for s in self._series(entity)], self.start_ns, self.step_seconds, self.files.cells
                    )
                filler.put((number - self.groups[entity]).astype(np.int32), us * 1000, value)
        if filler is not None:
            yield self._finish(entity, filler)

    def _series(self, entity: int) -> tuple[Series, ...]:
        return self.series[self.groups[entity] : self.groups[entity + 1]]

    def _finish(self, entity: int, filler: GridFiller) -> pa.RecordBatch:
        grid, first = filler.grid(), int(self.groups[entity])
        limits = limits_grid(grid, self._series(entity))
        self.files.put(first, grid, limits)
        limited = first + np.flatnonzero(~np.isnan(limits).all(axis=1))
        return pa.RecordBatch.from_arrays([pa.array(limited, pa.int32())], ["limited"])


@dataclass(frozen=True, slots=True)
class Featuring:
    """Computes the features of entities at the cells `at` from the windows on disk."""

    history: History
    at: I64

    def __call__(self, batches: Batches) -> Batches:
        """Batches (first, stop) of entities' series to batches (number, us, features)."""
        windows = self.history.read_windows()
        for batch in batches:
            for first, stop in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield from self._of_entity(windows, first, stop)

    def _of_entity(self, windows: SignalWindows, first: int, stop: int) -> Batches:
        part = windows.rows(np.arange(first, stop))
        rows = feature_rows(part, self.at)
        number = {s.id: first + i for i, s in enumerate(part.series)}
        numbers = pa.array([number[name] for name in rows.column("series_id").to_pylist()], pa.int32())
        us = rows.column("event_timestamp").cast(pa.int64())
        features = [rows.column(name) for name in FEATURE_NAMES]
        yield from pa.table([numbers, us, *features], ["number", "us", *FEATURE_NAMES]).to_batches()


def _samples(spark: "SparkSession", history: History) -> "DataFrame":
    """Raw samples (series_id, us, value) of the interval, us: microseconds since 1970."""
    start, stop = (datetime.fromisoformat(text) for text in history.read_json("interval"))
    files = [
        str(path)
        for path, day in zip(history.day_files(), history.days_there(), strict=True)
        if start.date() <= day <= stop.date()
    ]
    if not files:
        raise dg.Failure(f"no raw samples in {history.folder}: raw_metrics did not run")
    samples = spark.read.parquet(*files).selectExpr("series_id", "unix_micros(time) as us", "value")
    return samples.where(f"us >= {microseconds(start)} and us < {microseconds(stop)}")


def _numbered(spark: "SparkSession", samples: "DataFrame", filling: Filling) -> "DataFrame":
    """Samples (entity, number, us, value): each entity in one partition, by series and time."""
    from pyspark.sql.functions import broadcast

    sizes = np.diff(filling.groups)
    rows = {"series_id": [s.id for s in filling.series], "entity": np.repeat(np.arange(len(sizes)), sizes)}
    names = spark.createDataFrame(pd.DataFrame(rows).assign(number=np.arange(len(filling.series))))
    joined = samples.join(broadcast(names), "series_id").select("entity", "number", "us", "value")
    return joined.repartition("entity").sortWithinPartitions("entity", "number", "us")


def _groups(series: list[Series]) -> I64:
    """Where the series of each entity begin and the last one's end: they are in order of their ids."""
    entities = [s.entity for s in series]
    return np.array([0, *(i for i in range(1, len(entities)) if entities[i] != entities[i - 1]), len(entities)])
