"""Incidents of simulated shops: what a young history lacks, the failure model learns from these as well."""

from datetime import UTC, datetime

import dagster as dg
import numpy as np
import pyarrow as pa

from forewarn.evaluation.split import balanced_sample
from forewarn.features.definitions import FEATURE_NAMES, FEATURE_VERSION, HORIZON_STEPS
from forewarn.features.grid import grid_start, limits_grid, to_grids
from forewarn.features.labels import time_to_limit
from forewarn.simulation.schedule import history as incident_history
from forewarn.simulation.simulate import simulate
from monitor_assets.features.signal_features import limited_features
from monitor_assets.history import SignalWindows
from monitor_assets.scope import TrainingScope

NAME = "simulated_incidents"
SEEDS = (9001, 9002, 9003)  # shops that no demo and no test draws
DAYS = 14.0
MOST_ROWS = 5_000  # of each shop
_EVERY_STEPS = 15
_STEP_SECONDS = 60.0
_START = datetime(2026, 1, 5, tzinfo=UTC)  # any Monday


@dg.asset(group_name="training", kinds={"lightgbm"}, owners=["team:forewarn"])
def simulated_incidents(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """Features and labels of simulated shops: two weeks each, with leaks, exhausted pools, full disks, backlogs, slow
    dependencies, climbing errors and traffic spikes. Made once for each version of the features, then kept."""
    history = scope.history()
    made = f"{NAME}_{FEATURE_VERSION}"
    path = history.folder / f"{made}.parquet"
    if not path.exists():
        history.write_table(made, pa.concat_tables([_rows(seed) for seed in SEEDS]))
    rows = history.read_table(made)
    near = int((rows.column("steps").to_numpy() <= HORIZON_STEPS[-1]).sum())
    context.log.info("%d rows, %d of them lead to a failure in a day", rows.num_rows, near)
    return dg.MaterializeResult(
        metadata={"rows": rows.num_rows, "lead to a failure in a day": near, "seeds": str(SEEDS)}
    )


def _rows(seed: int) -> pa.Table:
    """A balanced sample of one simulated shop."""
    recording = simulate(_START, DAYS * 24, _STEP_SECONDS, seed, incident_history(DAYS, seed))
    series = [s for entity in recording.entities for s in entity.series]
    values = np.vstack([entity.values for entity in recording.entities])
    start = grid_start(int(recording.times_ns[0]), _STEP_SECONDS)
    cells = int((recording.times_ns[-1] - start) // int(_STEP_SECONDS * 1e9)) + 1
    index, at_time = np.nonzero(~np.isnan(values))
    kinds = [s.kind for s in series]
    sample = values[index, at_time]
    grid = to_grids(index.astype(np.int32), recording.times_ns[at_time], sample, kinds, start, _STEP_SECONDS, cells)
    windows = SignalWindows(series, grid, limits_grid(grid, series), start, _STEP_SECONDS)
    limited = windows.limited
    at = np.arange(60, cells, _EVERY_STEPS)
    features = limited_features(windows, at).reshape(-1, len(FEATURE_NAMES))
    steps, observed = (part[:, at].ravel() for part in time_to_limit(grid[limited], windows.limits[limited]))
    known = np.flatnonzero(~np.isnan(steps) & ~np.isnan(observed))
    kept, weight = balanced_sample(steps[known] <= HORIZON_STEPS[-1], MOST_ROWS, seed)
    rows = known[kept]
    columns = {name: features[rows, i].astype(np.float32) for i, name in enumerate(FEATURE_NAMES)}
    labels = {
        "steps": steps[rows],
        "observed": observed[rows],
        "weight": weight,
        "cell": np.tile(at, len(limited))[rows],
    }
    return pa.table(columns | labels)
