"""The rows that the failure model learns from: sampled labels, joined with features as they were known then."""

from dataclasses import replace

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo import store as feature_store
from forewarn.classification.censoring import ActionCurve
from forewarn.evaluation.split import balanced_sample, split_time
from forewarn.features.definitions import HORIZON_STEPS
from monitor_assets.features.incident_labels import SERIES_AT_ONCE, incident_labels
from monitor_assets.features.signal_features import limited_features, needed_rows, signal_features
from monitor_assets.features.told_episodes import action_curve, kept
from monitor_assets.history import SignalWindows
from monitor_assets.markdown import table
from monitor_assets.scope import TrainingScope
from monitor_assets.training.parts import labels_of_part, matrix

MOST_ROWS = {"train": 14_000, "calibration": 6_000}
SEED = 1
INVERSE = tuple(f"inverse_{steps}" for steps in HORIZON_STEPS)  # columns: weights against the censoring by actions


@dg.asset(deps=[signal_features, incident_labels], group_name="training", kinds={"feast"}, owners=["team:forewarn"])
def training_set(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """A balanced sample of the training and calibration intervals, joined point in time through the feature store.

    History is cut by time: the first 70 % to train on, the next 15 % to calibrate on, the last 15 % to test on, with
    gaps between. Labels are those known at the end of each part. Weights undo the sampling, and let signals that
    were left alone after a warning stand for those that someone acted upon.
    """
    history = scope.history()
    windows = history.read_windows()
    split = split_time(windows.cells.shape[1])
    labels = history.read_table("incident_labels")
    parts = {"train": split.train, "calibration": split.calibration}
    curve = action_curve(kept(history), split.calibration.stop)
    entity_rows = pd.concat([_sampled(labels_of_part(labels, part), name, curve) for name, part in parts.items()])
    rows = feature_store.historical_features(feature_store.open_store(scope.home), entity_rows)
    result = pa.Table.from_pandas(rows, preserve_index=False)
    history.write_table("training_set", result)
    history.write_json("split", {name: [part.first, part.stop] for name, part in {**parts, "test": split.test}.items()})
    context.log.info("%d rows", result.num_rows)
    intervals = {**parts, "test": split.test}
    return dg.MaterializeResult(
        metadata={
            "rows": result.num_rows,
            "acted on within six hours": float(1.0 - curve.at(np.array([360.0]))[0]),
            "largest weight against censoring": float(rows[list(INVERSE)].to_numpy().max()),
            "parts": table(
                ["part", "from", "to", "rows", "lead to a failure in a day"],
                [
                    (name, windows.time_of(p.first), windows.time_of(p.stop), *_counts(rows, name))
                    for name, p in intervals.items()
                ],
            ),
        }
    )


def _sampled(labels: pa.Table, part: str, curve: ActionCurve) -> pd.DataFrame:
    """Entity rows of a part with labels and weights."""
    if labels.num_rows == 0:
        raise dg.Failure(f"the {part} interval holds no row with a known outcome: is the history long enough?")
    near = labels.column("steps").to_numpy() <= HORIZON_STEPS[-1]
    rows, weight = balanced_sample(near, MOST_ROWS[part], SEED)
    frame = labels.take(pa.array(rows)).to_pandas()
    known = (frame[name].to_numpy() for name in ("steps", "observed", "warned", "closed"))
    inverse = curve.inverse(*known, HORIZON_STEPS)
    return frame.assign(weight=weight, part=part, **dict(zip(INVERSE, inverse.T, strict=True)))


def _counts(rows: pd.DataFrame, part: str) -> tuple[int, int]:
    own = rows[rows["part"] == part]
    return len(own), int((own["steps"] <= HORIZON_STEPS[-1]).sum())


@dg.asset_check(asset=training_set, blocking=True, description="Features do not change when the future is altered.")
def training_set_sees_no_future(scope: TrainingScope) -> dg.AssetCheckResult:
    """For sampled rows, history after the row's time is replaced by nonsense and the features are computed anew."""
    history = scope.history()
    windows = history.read_windows()
    rows = history.read_table("training_set")
    cell, row, limited = rows.column("cell").to_numpy(), rows.column("row").to_numpy(), windows.limited
    times = np.random.default_rng(SEED).permutation(np.unique(cell))[:6]
    worst, compared = 0.0, 0
    for first in range(0, len(limited), SERIES_AT_ONCE):
        few = limited[first : first + SERIES_AT_ONCE]
        blind = _copies(windows, few)
        for at in np.sort(times)[::-1]:  # what is nonsense after a time is nonsense after an earlier one
            blind.cells[:, at:] = -1e6
            blind.limits[:, at:] *= 1e-3  # what has no limit stays without
            here = (cell == at) & (row >= first) & (row < first + len(few))
            said = limited_features(blind, np.array([at]))[:, 0]
            own, expected = matrix(rows.filter(pa.array(here))), said[row[here] - first]
            difference = np.abs(own - expected) / (1 + np.abs(expected))
            nan_differs = np.isnan(own) != np.isnan(expected)
            worst = max(worst, float(np.nanmax(difference, initial=0.0)), float(nan_differs.any()))
            compared += own.size
    return dg.AssetCheckResult(
        passed=worst < 1e-9 and compared > 0,
        metadata={"values compared": compared, "largest relative difference": worst, "limited series": len(limited)},
    )


def _copies(windows: SignalWindows, limited: NDArray[np.int64]) -> SignalWindows:
    """Windows of some limited series and of what their features are made of."""
    needed = needed_rows(windows, limited)
    return replace(windows.rows(needed), known_limited=np.searchsorted(needed, limited))


@dg.asset_check(asset=training_set, blocking=True, description="No label of a part knows of anything after that part.")
def labels_end_with_their_part(scope: TrainingScope) -> dg.AssetCheckResult:
    """A failure that a label tells of lies before the end of the label's part."""
    history = scope.history()
    rows, split = history.read_table("training_set"), history.read_json("split")
    beyond = {}
    for part in MOST_ROWS:
        own = rows.filter(pa.array(np.array(rows.column("part").to_pylist()) == part))
        end = own.column("cell").to_numpy() + np.nan_to_num(own.column("steps").to_numpy(), posinf=0.0)
        beyond[part] = int((end > split[part][1]).sum())
    return dg.AssetCheckResult(passed=not any(beyond.values()), metadata={"labels beyond": beyond})


@dg.asset_check(asset=training_set, description="Both parts hold rows that lead to a failure, and rows that do not.")
def training_set_has_both_classes(scope: TrainingScope) -> dg.AssetCheckResult:
    """A warning: a young history without failures learns from simulated ones alone."""
    rows = scope.history().read_table("training_set")
    part, near = np.array(rows.column("part").to_pylist()), rows.column("steps").to_numpy() <= HORIZON_STEPS[-1]
    share = {name: float(near[part == name].mean()) for name in MOST_ROWS}
    return dg.AssetCheckResult(
        passed=all(0 < value < 1 for value in share.values()),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={f"share that leads to a failure, {name}": value for name, value in share.items()},
    )
