"""What came after each row of features: a failure and when, or how long nobody saw one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import dagster as dg
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.evaluation.model_metrics import incident_cells, onsets_of
from forewarn.features.definitions import HORIZON_STEPS
from forewarn.features.labels import Judgement, failing_cells, judged, time_to_limit
from monitor_assets.features import service_calls
from monitor_assets.features.signal_features import signal_features
from monitor_assets.features.told_episodes import ToldEpisode, judgements, keep, kept, next_told, read_told
from monitor_assets.history import History, SignalWindows
from monitor_assets.markdown import table
from monitor_assets.scope import TrainingScope

SERIES_AT_ONCE = 512
_VERDICTS = ("averted", "dismissed", "confirmed", "")


@dg.asset(deps=[signal_features], group_name="features", kinds={"numpy", "postgres"}, owners=["team:forewarn"])
def incident_labels(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """For each row of features the steps to the next failure of its signal, and the steps that were watched.

    A failure is a limited signal at its limit. What people said comes in: where someone acted ('averted') the rows
    before are watched only until then, for nobody knows what would have come; what was dismissed did not fail; what
    was confirmed failed, at the latest when it was foretold.
    """
    history = scope.history()
    windows = history.read_windows()
    episodes = read_told(scope.postgres_url, scope.namespace, windows)
    keep(history, episodes)
    service_calls.keep(history, scope.postgres_url)
    labels = labels_of(history, windows, episodes)
    history.write_table("incident_labels", labels)
    limited = windows.limited
    onsets = onsets_of(failing_of(windows, episodes))
    rows = [(windows.series[limited[i]].id, len(cells)) for i, cells in enumerate(onsets) if len(cells)]
    failures, incidents = sum(n for _, n in rows), len(incident_cells(onsets, service_calls.related(history, windows)))
    said = [(verdict or "nothing", sum(one.verdict == verdict for one in episodes)) for verdict in _VERDICTS]
    context.log.info("%d rows, %d failures in %d incidents", labels.num_rows, failures, incidents)
    return dg.MaterializeResult(
        metadata={
            "rows": labels.num_rows,
            "rows that a failure follows": int(np.isfinite(labels.column("steps").to_numpy()).sum()),
            "failures": failures,
            "incidents": incidents,
            "averted predictions": sum(one.acted for one in episodes),
            "what people said of what was told": table(["verdict", "episodes"], said),
            "failures by signal": table(["signal", "failures"], sorted(rows, key=lambda r: -r[1])),
        }
    )


def failing_of(windows: SignalWindows, episodes: Sequence[ToldEpisode]) -> NDArray[np.bool_]:
    """bool [limited, C]: what failed, in the telemetry and in the eyes of people."""
    failing = np.empty((len(windows.limited), windows.cells.shape[1]), np.bool_)
    for first, part, said in _few_at_once(windows, episodes):
        failing[first : first + len(part.series)] = judged(failing_cells(part.cells, part.limits), said)
    return failing


def _few_at_once(
    windows: SignalWindows, episodes: Sequence[ToldEpisode]
) -> Iterator[tuple[int, SignalWindows, list[Judgement]]]:
    """(first row, windows of some limited series, what people said of them): every cell of a fleet is large."""
    limited, said = windows.limited, judgements(episodes)
    for first in range(0, len(limited), SERIES_AT_ONCE):
        part = windows.rows(limited[first : first + SERIES_AT_ONCE])
        stop = first + len(part.series)
        yield first, part, [replace(one, row=one.row - first) for one in said if first <= one.row < stop]


def _outcomes(
    windows: SignalWindows, episodes: Sequence[ToldEpisode], row: NDArray[np.int64], cell: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(steps to a failure, steps that were watched) of limited series `row` at `cell`, float64 [n] each."""
    came, watched = np.empty(len(row)), np.empty(len(row))
    for first, part, said in _few_at_once(windows, episodes):
        steps, observed = time_to_limit(part.cells, part.limits, said)
        here = np.flatnonzero((row >= first) & (row < first + len(part.series)))
        came[here] = steps[row[here] - first, cell[here]]
        watched[here] = observed[row[here] - first, cell[here]]
    return came, watched


def labels_of(history: History, windows: SignalWindows, episodes: Sequence[ToldEpisode]) -> pa.Table:
    """Rows (series_id, event_timestamp, row, cell, steps, observed, warned, closed) of the features of a namespace
    whose outcome is known. `row` counts limited series; `warned` and `closed`: see `ActionCurve.inverse`."""
    keys = history.read_features(["series_id", "event_timestamp"])
    limited = windows.limited
    position = {windows.series[i].id: k for k, i in enumerate(limited)}
    row = np.array([position[name] for name in keys.column("series_id").to_pylist()], np.int64)
    times = keys.column("event_timestamp").to_numpy().astype("datetime64[us]").astype(np.int64)
    cell = (times * 1000 - windows.start_ns) // windows.step_ns
    came, watched = _outcomes(windows, episodes, row, cell)
    warned, closed = next_told(episodes, row, cell, watched)
    columns = {"row": row, "cell": cell, "steps": came, "observed": watched, "warned": warned, "closed": closed}
    labels = keys
    for name, values in columns.items():
        labels = labels.append_column(name, pa.array(values))
    labels = labels.filter(pa.array(~np.isnan(came) & ~np.isnan(watched)))
    return labels.sort_by([("row", "ascending"), ("cell", "ascending")])


@dg.asset_check(
    asset=incident_labels, blocking=True, description="No row before an action on its signal is watched beyond it."
)
def actions_end_what_was_watched(scope: TrainingScope) -> dg.AssetCheckResult:
    """Else an averted failure would be learned as one that never came."""
    history = scope.history()
    labels = history.read_table("incident_labels")
    row, cell, observed = (labels.column(name).to_numpy() for name in ("row", "cell", "observed"))
    episodes = [one for one in kept(history) if one.acted]
    beyond = sum(int(((row == one.row) & (cell < one.until) & (cell + observed > one.until)).sum()) for one in episodes)
    return dg.AssetCheckResult(passed=not beyond, metadata={"actions": len(episodes), "rows beyond": beyond})


@dg.asset_check(asset=incident_labels, description="Both happen: rows that a failure follows in a day, and others.")
def labels_have_both_classes(scope: TrainingScope) -> dg.AssetCheckResult:
    """A warning: without failures the simulated ones are all there is to learn from."""
    steps = scope.history().read_table("incident_labels").column("steps").to_numpy()
    share = float((steps <= HORIZON_STEPS[-1]).mean()) if len(steps) else float("nan")
    return dg.AssetCheckResult(
        passed=0.001 <= share <= 0.9,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"share that a failure follows in a day": share},
    )
