"""Features of every limited signal over history, in the feature store."""

import dagster as dg
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo import spark
from feature_repo import store as feature_store
from forewarn.config.settings import Settings
from forewarn.evaluation.model_metrics import EARLY_STEPS, WARNING_STEPS, rows_in
from forewarn.features.batch import features_at
from forewarn.features.context import context_of
from forewarn.features.definitions import FEATURE_COUNT, FEATURE_NAMES, FEATURE_VERSION, INDEX
from forewarn.risk.episodes import CONFIRM
from forewarn.risk.silence import ENOUGH_STEPS
from monitor_assets.features.signal_windows import signal_windows
from monitor_assets.history import History, SignalWindows
from monitor_assets.markdown import table
from monitor_assets.scope import TrainingScope

STRIDE = 5  # cells between two rows of a series: neighbours are nearly the same row
MOST_ROWS = 200_000
MOST_FORESIGHT = WARNING_STEPS // 2  # steps; few failures are foreseen further ahead


@dg.asset(deps=[signal_windows], group_name="features", kinds={"feast", "parquet"}, owners=["team:forewarn"])
def signal_features(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """Features of each limited signal every few steps, by the definition that the predictor uses.

    Written to the feature store's history, registered there, and the newest row of each series pushed online.
    """
    history = scope.history()
    windows = history.read_windows()
    if not len(windows.limited):
        raise dg.Failure("no series has a limit: send limits as signals, such as process.memory.usage.limit")
    rows = _rows(scope.settings(), history, windows)
    written = feature_store.write_history(scope.home, scope.namespace, rows)
    store = feature_store.apply(scope.home)
    pushed = feature_store.push_newest(store, _last_rows(rows, windows))
    context.log.info("%d rows of %d features, %d series pushed online", rows.num_rows, FEATURE_COUNT, pushed)
    missing = [(name, _nan_share(rows, name)) for name in FEATURE_NAMES]
    return dg.MaterializeResult(
        metadata={
            "rows": rows.num_rows,
            "features": FEATURE_COUNT,
            "feature_version": FEATURE_VERSION,
            "series pushed online": pushed,
            "missing": table(["feature", "missing share"], [row for row in missing if row[1] > 0]),
            "days written": len(written),
            "folder": dg.MetadataValue.path(str(feature_store.history_folder(scope.home))),
        }
    )


def _rows(settings: Settings, history: History, windows: SignalWindows) -> pa.Table:
    if settings.offline_store != spark.STORE:
        return feature_rows(windows, feature_cells(len(windows.limited), windows.cells.shape[1]))
    from monitor_assets.features.by_entity import entity_features

    return entity_features(spark.spark_session(settings), history)


def feature_cells(limited: int, cells: int) -> NDArray[np.int64]:
    """Cells at which so many series get rows, int64 [M]: every few, and fewer of many."""
    return np.arange(ENOUGH_STEPS, cells, row_stride(limited, cells), dtype=np.int64)


def row_stride(limited: int, cells: int) -> int:
    """Cells between two rows of each of so many series of so many cells: more where MOST_ROWS are shared by many."""
    return max(STRIDE, -(-limited * cells // MOST_ROWS))


def steps_to_be_seen(stride: int) -> int:
    """How many steps ahead a failure must be foreseen for its warning to be counted as early, wherever rows fall.

    A warning opens with so many rows in a row, `stride` steps apart, and must come EARLY_STEPS before the failure.
    """
    return int(EARLY_STEPS) + rows_in(CONFIRM, stride) * stride


def feature_rows(windows: SignalWindows, at: NDArray[np.int64]) -> pa.Table:
    """Rows for the feature store at cells `at`: where a limit and a value are known."""
    limited = windows.limited
    features = limited_features(windows, at)
    known = np.isfinite(features[:, :, INDEX["ratio"]]) & (windows.limits[limited][:, at - 1] > 0)
    row, column = np.nonzero(known)
    ids = pa.array([windows.series[i].id for i in limited]).take(pa.array(row)).to_pylist()
    return feature_store.features_table(ids, windows.microseconds(at[column]), features[row, column])


def limited_features(windows: SignalWindows, at: NDArray[np.int64]) -> NDArray[np.float64]:
    """Features [limited, M, F] at cells `at`; only the series that they are made of are computed."""
    needed = needed_rows(windows)
    part = windows.rows(needed)
    features = features_at(part.cells, part.limits, at, context_of(part.series))
    return features[np.searchsorted(needed, windows.limited)]


def needed_rows(windows: SignalWindows, limited: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Indices of the limited series (or some of them), and of those that tell load, errors and latency of theirs."""
    context, limited = context_of(windows.series), windows.limited if limited is None else limited
    roles = np.concatenate([context.load[limited], context.errors[limited], context.latency[limited]])
    return np.unique(np.concatenate([limited, roles[roles >= 0]]))


@dg.asset_check(
    asset=signal_features, description="Rows are close enough to each other for a backtest to see warnings early."
)
def rows_are_close_enough_for_warnings(scope: TrainingScope) -> dg.AssetCheckResult:
    """A warning: where rows are further apart, recall is measured too low and false pages too few, and the threshold
    is chosen by both."""
    windows = scope.history().read_windows()
    stride = row_stride(len(windows.limited), windows.cells.shape[1])
    ahead = steps_to_be_seen(stride)
    far = (
        f"rows are {stride} steps apart: threshold, backtest and promotion see a warning early only where the failure "
        f"is foreseen {ahead} steps ahead; train on a shorter interval (scope.start)"
    )
    return dg.AssetCheckResult(
        passed=ahead <= MOST_FORESIGHT,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"steps between rows": stride, "steps ahead that a failure must be foreseen": ahead},
        description=far if ahead > MOST_FORESIGHT else None,
    )


def _last_rows(rows: pa.Table, windows: SignalWindows) -> pa.Table:
    """Rows of the last hour's cells: enough to find the newest of each series that is alive."""
    last = int(windows.microseconds(np.array([windows.cells.shape[1] - 60]))[0])
    times = rows.column("event_timestamp").to_numpy().astype("datetime64[us]").astype(np.int64)
    return rows.filter(pa.array(times >= last))


def _nan_share(rows: pa.Table, name: str) -> float:
    return float(np.isnan(rows.column(name).to_numpy()).mean())
