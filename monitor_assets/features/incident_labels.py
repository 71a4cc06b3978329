"""What came after each row of features: a failure and when, or how long nobody saw one."""

from datetime import datetime

import dagster as dg
import numpy as np
import psycopg
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.evaluation.model_metrics import incident_cells, onsets_of
from forewarn.features.labels import failing_cells, time_to_limit
from monitor_assets.features.signal_features import signal_features
from monitor_assets.history import History, SignalWindows
from monitor_assets.markdown import table
from monitor_assets.scope import TrainingScope

_AVERTED = """
select distinct r.entity, r.signal, r.predicted_at, o.resolved_at
from outcomes o join risks r using (risk_id) where o.outcome = 'averted'
"""


@dg.asset(deps=[signal_features], group_name="features", kinds={"numpy", "postgres"}, owners=["team:forewarn"])
def incident_labels(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """For each row of features the steps to the next failure of its signal, and the steps that were watched.

    A failure is a limited signal at its limit. A prediction that someone acted upon ('averted' in the ledger) is
    neither true nor false: its rows are watched only until they acted.
    """
    history = scope.history()
    windows = history.read_windows()
    averted = _averted(scope.postgres_url, windows)
    labels = labels_of(history, windows, averted)
    history.write_table("incident_labels", labels)
    limited = windows.limited
    failing = failing_cells(windows.cells[limited], windows.limits[limited])
    onsets = onsets_of(failing)
    rows = [(windows.series[limited[i]].id, len(cells)) for i, cells in enumerate(onsets) if len(cells)]
    failures, incidents = sum(n for _, n in rows), len(incident_cells(onsets))
    context.log.info("%d rows, %d failures in %d incidents", labels.num_rows, failures, incidents)
    return dg.MaterializeResult(
        metadata={
            "rows": labels.num_rows,
            "rows that a failure follows": int(np.isfinite(labels.column("steps").to_numpy()).sum()),
            "failures": failures,
            "incidents": incidents,
            "averted predictions": len(averted),
            "failures by signal": table(["signal", "failures"], sorted(rows, key=lambda r: -r[1])),
        }
    )


def labels_of(history: History, windows: SignalWindows, averted: list[tuple[str, int, int]]) -> pa.Table:
    """Rows (series_id, event_timestamp, row, cell, steps, observed) of the features of a namespace whose outcome is
    known. `row` counts limited series; `averted` holds series id and the cells of prediction and action."""
    keys = history.read_features(["series_id", "event_timestamp"])
    limited = windows.limited
    steps, observed = time_to_limit(windows.cells[limited], windows.limits[limited])
    position = {windows.series[i].id: k for k, i in enumerate(limited)}
    for name, predicted, acted in averted:
        if name in position:
            _cut(observed[position[name]], predicted, acted)
    row = np.array([position[name] for name in keys.column("series_id").to_pylist()], np.int64)
    times = keys.column("event_timestamp").to_numpy().astype("datetime64[us]").astype(np.int64)
    cell = (times * 1000 - windows.start_ns) // windows.step_ns
    came, watched = steps[row, cell].astype(np.float64), observed[row, cell].astype(np.float64)
    labels = keys
    for name, values in (("row", row), ("cell", cell), ("steps", came), ("observed", watched)):
        labels = labels.append_column(name, pa.array(values))
    labels = labels.filter(pa.array(~np.isnan(came) & ~np.isnan(watched)))
    return labels.sort_by([("row", "ascending"), ("cell", "ascending")])


def _cut(observed: NDArray[np.float32], predicted: int, acted: int) -> None:
    """Rows from the prediction on until someone acted are watched no longer than that."""
    first, stop = max(predicted, 0), min(acted, len(observed))
    if first < stop:
        observed[first:stop] = np.fmin(observed[first:stop], np.arange(stop - first, 0, -1))


def _averted(postgres_url: str, windows: SignalWindows) -> list[tuple[str, int, int]]:
    """Series id, cell of the prediction and cell of the action of each averted prediction."""

    def cell(time: datetime) -> int:
        return int((time.timestamp() * 1e9 - windows.start_ns) // windows.step_ns)

    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute(_AVERTED).fetchall()
    return [(f"{entity}|{signal}", cell(told), cell(acted)) for entity, signal, told, acted in rows]
