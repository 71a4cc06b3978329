"""History on a grid of cells, filled by the same loop that fills the predictor's windows."""

from datetime import datetime

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feature_repo import spark
from forewarn.config.settings import Settings
from forewarn.features.grid import GridFiller, grid_start, limits_grid
from forewarn.stores.archive import microseconds
from monitor_assets.history import History, SignalWindows
from monitor_assets.ingestion.raw_metrics import raw_metrics
from monitor_assets.markdown import table
from monitor_assets.scope import TrainingScope

MOST_MISSING = 0.2  # share of cells that may be missing in a series


@dg.asset(deps=[raw_metrics], group_name="features", kinds={"numpy"}, owners=["team:forewarn"])
def signal_windows(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """Each series as cells of equal width (counters as rates per second), and the limit of each at each cell."""
    history = scope.history()
    windows = _made(scope.settings(), history, scope.step_seconds)
    limited = windows.limited
    context.log.info("%d series, %d with a limit, %d cells", len(windows.series), len(limited), windows.cells.shape[1])
    used = [(windows.series[i].id, _highest_use(windows, i), _missing(windows, i)) for i in limited]
    return dg.MaterializeResult(
        metadata={
            "series": len(windows.series),
            "limited series": len(limited),
            "cells": windows.cells.shape[1],
            "step_seconds": windows.step_seconds,
            "limited": table(["series", "highest use of its limit", "missing"], used),
            "folder": dg.MetadataValue.path(str(history.folder / "signal_windows")),
        }
    )


def _made(settings: Settings, history: History, step_seconds: float) -> SignalWindows:
    """The windows, which are on disk then."""
    if settings.offline_store == spark.STORE:
        from monitor_assets.features.by_entity import write_windows

        return write_windows(spark.spark_session(settings), history, step_seconds)
    windows = windows_of(history, step_seconds)
    history.write_windows(windows)
    return windows


def windows_of(history: History, step_seconds: float) -> SignalWindows:
    """Windows of the raw samples of a namespace, read day by day. Raises dagster.Failure where there are none."""
    start_at, stop_at = (datetime.fromisoformat(text) for text in history.read_json("interval"))
    known = history.read_series()
    ids, first, last = _extent(history, start_at, stop_at)
    if not ids:
        raise dg.Failure(f"no raw samples in {history.folder}: the interval holds none, or raw_metrics did not run")
    series = [known[name] for name in ids]
    start = grid_start(first, step_seconds)
    cells = int((last - start) // int(step_seconds * 1e9)) + 1
    filler = GridFiller([s.kind for s in series], start, step_seconds, cells)
    for samples in history.read_samples(start_at, stop_at):
        codes, names = _codes(samples)
        number = pc.index_in(names, pa.array(ids, pa.string())).to_numpy(zero_copy_only=False)
        filler.put(number[codes].astype(np.int32), _nanoseconds(samples), samples.column("value").to_numpy())
    grid = filler.grid()
    return SignalWindows(series, grid, limits_grid(grid, series), start, step_seconds)


def _extent(history: History, start: datetime, stop: datetime) -> tuple[list[str], int, int]:
    """Ids of the series that have samples, in order, and the first and last time in nanoseconds."""
    ids: set[str] = set()
    first, last = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    for samples in history.read_samples(start, stop):
        if not samples.num_rows:
            continue
        codes, names = _codes(samples)
        ids.update(names.take(pa.array(np.flatnonzero(np.bincount(codes, minlength=len(names))))).to_pylist())
        ends = pc.min_max(samples.column("time")).as_py()
        first, last = min(first, _ns(ends["min"])), max(last, _ns(ends["max"]))
    return sorted(ids), first, last


def _codes(samples: pa.Table) -> tuple[NDArray[np.int32], pa.StringArray]:
    """Which name each sample has: codes [n] of names."""
    column = samples.unify_dictionaries().column("series_id").combine_chunks()
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    return column.indices.to_numpy(zero_copy_only=False), column.dictionary


def _nanoseconds(samples: pa.Table) -> NDArray[np.int64]:
    return samples.column("time").to_numpy().astype("datetime64[ns]").astype(np.int64)


def _ns(time: datetime) -> int:
    return microseconds(time) * 1000


@dg.asset_check(
    asset=signal_windows, description=f"No limited series misses more than {MOST_MISSING:.0%} of its cells."
)
def windows_have_no_gaps(scope: TrainingScope) -> dg.AssetCheckResult:
    """A series counts from its first value on; what it misses after that are gaps."""
    windows = scope.history().read_windows()
    missing = {windows.series[i].id: _missing(windows, i) for i in windows.limited}
    worst = max(missing, key=lambda name: missing[name], default="")
    bad = {name: share for name, share in missing.items() if share > MOST_MISSING}
    return dg.AssetCheckResult(
        passed=not bad,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"worst": worst, "missing share": missing.get(worst, 0.0), "too much missing": sorted(bad)},
    )


@dg.asset_check(
    asset=signal_windows, description="At least one signal has a limit, so that there is something to predict."
)
def some_signals_have_limits(scope: TrainingScope) -> dg.AssetCheckResult:
    """Without limits nothing can be learned of failures."""
    windows = scope.history().read_windows()
    limited = len(windows.limited)
    return dg.AssetCheckResult(
        passed=limited > 0,
        metadata={"limited series": limited, "series": len(windows.series)},
        description=None if limited else "send limits as signals, such as process.memory.usage.limit",
    )


def _highest_use(windows: SignalWindows, i: int) -> float:
    use = windows.cells[i] / windows.limits[i]
    return float(np.nanmax(use)) if np.isfinite(use).any() else float("nan")


def _missing(windows: SignalWindows, i: int) -> float:
    there = ~np.isnan(windows.cells[i])
    return float(1 - there[int(there.argmax()) :].mean()) if there.any() else 1.0
