"""From lines to an anomaly: known lines in an order that never came are noticed, without any template being new."""

import numpy as np

from forewarn.detection.false_alarm_budget import FalseAlarmBudget
from forewarn.features.windows import WindowStore
from forewarn.risk.anomaly_watch import AnomalyWatch
from forewarn.telemetry.connectors.kinds import LOGS
from forewarn.telemetry.connectors.options import Options
from forewarn.telemetry.connectors.stream import EntitySignals, SignalStream
from forewarn.telemetry.otlp_logs import LogRecord
from forewarn.telemetry.samples import SampleBatch

STEP, STEPS, CHANGED, PER_STEP = 60, 400, 380, 20
BEGIN = 1_700_000_100 // 900 * 900
WORDS = ("begin the transaction", "read from the cache", "write to the store", "commit and leave")
ENTITIES = [f"shop/s{k}" for k in range(4)]


def _lines(step: int, entity: str, rng: np.random.Generator) -> list[LogRecord]:
    """Requests one after the other; from CHANGED on those of s3 commit before they read."""
    order = (0, 3, 2, 1) if entity == "shop/s3" and step >= CHANGED else (0, 1, 2, 3)
    times = np.sort(rng.uniform(0, STEP, PER_STEP)) + BEGIN + step * STEP
    said = [WORDS[order[k % 4]] if rng.random() > 0.004 else WORDS[int(rng.integers(4))] for k in range(PER_STEP)]
    return [LogRecord(int(t * 1e9), entity, "INFO", word) for t, word in zip(times, said, strict=True)]


def _batch(told: EntitySignals) -> SampleBatch:
    row, column = np.nonzero(np.isfinite(told.values))
    return SampleBatch(told.series, row.astype(np.int32), told.times[column], told.values[row, column])


def test_lines_in_an_order_that_never_came_become_an_anomaly() -> None:
    rng = np.random.default_rng(3)
    logs = SignalStream(LOGS, Options(bucket=STEP, allowance=0, learning=3600))
    windows = WindowStore(float(STEP))
    watch = AnomalyWatch(windows, float(STEP), FalseAlarmBudget.parse("one false page per service and week"))
    anomalies = []
    for step in range(STEPS):
        for entity in ENTITIES:
            for told in logs.take(_lines(step, entity, rng)):
                windows.put(_batch(told))
        cell = BEGIN // STEP + step - 1  # the bucket before is closed
        windows.close_cells(cell)
        anomalies += watch.step(cell)
    opened = [a for a in anomalies if a.state == "open"]
    assert [(a.entity, a.drivers[0].signal) for a in opened] == [("shop/s3", "log.surprise.ratio")]
    value = opened[0].drivers[0].value
    assert value is not None and value > 0.5
    assert 0 <= opened[0].at.timestamp() - (BEGIN + CHANGED * STEP) <= 6 * STEP
