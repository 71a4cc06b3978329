"""Rows of history that are too far apart hide warnings from the backtest, and the asset check says so."""

from pathlib import Path

import numpy as np
import pytest

from forewarn.evaluation.model_metrics import event_metrics, onsets_of, warnings_of
from forewarn.risk.silence import ENOUGH_STEPS
from forewarn.telemetry.samples import Series
from monitor_assets.features import signal_features
from monitor_assets.features.signal_features import (
    feature_cells,
    row_stride,
    rows_are_close_enough_for_warnings,
    steps_to_be_seen,
)
from monitor_assets.history import History, SignalWindows
from monitor_assets.scope import TrainingScope

CELLS = 30_000


def early_recall(stride: int, ahead: int) -> float:
    """Share of failures that are warned of early that are known so many steps ahead, rows being `stride` apart."""
    onsets = np.arange(1_000, CELLS - 500, 1_001)
    failing = np.zeros((1, CELLS), bool)
    failing[0, onsets] = True
    at = np.arange(ENOUGH_STEPS, CELLS, stride)
    to_next = onsets[np.minimum(np.searchsorted(onsets, at), len(onsets) - 1)] - at
    sure = ((to_next >= 0) & (to_next <= ahead)).astype(np.float64)
    return event_metrics(warnings_of(sure[None], at, 0.5), onsets_of(failing), CELLS, failing).early_recall


@pytest.mark.parametrize("stride", [5, 22, 65])
def test_what_is_foreseen_so_far_ahead_is_always_seen_early(stride: int) -> None:
    assert early_recall(stride, steps_to_be_seen(stride)) == 1.0
    assert early_recall(stride, steps_to_be_seen(stride) - stride) < 1.0


def test_rows_keep_their_distance_until_many_series_share_them() -> None:
    assert row_stride(20, 14 * 1440) == 5
    assert row_stride(1_000, 30 * 1440) == 216
    assert np.diff(feature_cells(1_000, 30 * 1440)).tolist() == [216] * (len(feature_cells(1_000, 30 * 1440)) - 1)


@pytest.mark.parametrize(("most", "passed"), [(2_000, True), (10, False)])
def test_the_check_warns_where_rows_are_too_far_apart(
    most: int, passed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREWARN_HOME", str(tmp_path))
    monkeypatch.setattr(signal_features, "MOST_ROWS", most)
    history, series = History(tmp_path, "shop"), [Series("shop/a", "memory"), Series("shop/b", "memory")]
    history.write_series(series)
    grid = np.ones((2, 1_000), np.float32)
    history.write_windows(SignalWindows(series, grid, grid, 0, 60.0))
    result = rows_are_close_enough_for_warnings(scope=TrainingScope(namespace="shop"))
    assert result.passed == passed
    assert passed or "rows are 200 steps apart" in str(result.description)
