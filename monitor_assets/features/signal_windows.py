"""History on a grid of cells, filled by the same loop that fills the predictor's windows."""

from datetime import datetime

import dagster as dg
import numpy as np
import pyarrow as pa

from forewarn.features.grid import grid_start, limits_grid, to_grids
from monitor_assets.history import History, SignalWindows
from monitor_assets.ingestion.raw_metrics import raw_metrics
from monitor_assets.markdown import table
from monitor_assets.scope import TrainingScope

MOST_MISSING = 0.2  # share of cells that may be missing in a series


@dg.asset(deps=[raw_metrics], group_name="features", kinds={"numpy"}, owners=["team:forewarn"])
def signal_windows(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """Each series as cells of equal width (counters as rates per second), and the limit of each at each cell."""
    history = scope.history()
    windows = windows_of(history, scope.step_seconds)
    path = history.write_windows(windows)
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
            "file": dg.MetadataValue.path(str(path)),
        }
    )


def windows_of(history: History, step_seconds: float) -> SignalWindows:
    """Windows of the raw samples of a namespace. Raises dagster.Failure where there are none."""
    start_at, stop_at = (datetime.fromisoformat(text) for text in history.read_json("interval"))
    samples = history.read_samples(start_at, stop_at)
    if not samples.num_rows:
        raise dg.Failure(f"no raw samples in {history.folder}: the interval holds none, or raw_metrics did not run")
    ids = samples.column("series_id").combine_chunks()
    there, index = np.unique(ids.indices.to_numpy(zero_copy_only=False), return_inverse=True)
    known = history.read_series()
    series = [known[name] for name in ids.dictionary.take(pa.array(there)).to_pylist()]
    times = samples.column("time").to_numpy().astype("datetime64[ns]").astype(np.int64)
    start = grid_start(int(times.min()), step_seconds)
    cells = int((times.max() - start) // int(step_seconds * 1e9)) + 1
    values = samples.column("value").to_numpy()
    index = index.astype(np.int32)
    grid = to_grids(index, times, values, [s.kind for s in series], start, step_seconds, cells)
    return SignalWindows(series, grid, limits_grid(grid, series), start, step_seconds)


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
