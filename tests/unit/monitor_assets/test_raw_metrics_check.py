"""What a file of samples holds stops a training only where all of it would be wrong."""

from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from forewarn.stores.archive import samples_table
from forewarn.telemetry.samples import Series
from monitor_assets.history import write_parquet
from monitor_assets.ingestion.raw_metrics import raw_metrics_are_of_their_day
from monitor_assets.scope import TrainingScope


@pytest.mark.parametrize(
    ("day", "value", "passed", "severity"),
    [
        (2, 1.0, True, dg.AssetCheckSeverity.WARN),
        (2, np.inf, False, dg.AssetCheckSeverity.WARN),
        (2, -np.inf, False, dg.AssetCheckSeverity.WARN),
        (3, 1.0, False, dg.AssetCheckSeverity.ERROR),
        (3, np.inf, False, dg.AssetCheckSeverity.ERROR),
    ],
)
def test_an_infinite_value_is_a_warning_a_sample_of_another_day_an_error(
    day: int, value: float, passed: bool, severity: dg.AssetCheckSeverity, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("FOREWARN_HOME", str(tmp_path))
    scope = TrainingScope(namespace="web")
    times = np.array([int(datetime(2026, 3, day, 12, tzinfo=UTC).timestamp()) * 10**6])
    table = samples_table((Series("web/api", "cpu"),), np.zeros(1, np.int64), times, np.array([value]))
    write_parquet(scope.history().day_file(date(2026, 3, 2)), table)
    result = raw_metrics_are_of_their_day(scope)
    assert (result.passed, result.severity) == (passed, severity)
