"""`MetricArchive` in memory."""

from datetime import datetime

import numpy as np
import pyarrow as pa

from forewarn.stores.archive import in_namespace, microseconds, samples_table
from forewarn.telemetry.samples import SampleBatch, Series


class MemoryMetricArchive:
    """Keeps batches in a list."""

    def __init__(self) -> None:
        self._batches: list[SampleBatch] = []

    def append(self, batch: SampleBatch) -> None:
        """See MetricArchive."""
        self._batches.append(batch)

    def read_samples(self, namespace: str, start: datetime, stop: datetime) -> pa.Table:
        """See MetricArchive."""
        known = self.series()
        numbers = {s: number for number, s in enumerate(known)}
        of_series = [np.array([numbers[s] for s in b.series], np.int64) for b in self._batches]
        index = _joined([numbers[b.index] for numbers, b in zip(of_series, self._batches, strict=True)], np.int64)
        times = _joined([b.times // 1000 for b in self._batches], np.int64)
        values = _joined([b.values for b in self._batches], np.float64)
        wanted = np.array([in_namespace(s, namespace) for s in known], bool)
        keep = (times >= microseconds(start)) & (times < microseconds(stop))
        keep &= wanted[index] if len(index) else keep
        return samples_table(known, index[keep], times[keep], values[keep])

    def series(self) -> list[Series]:
        """See MetricArchive."""
        return sorted({s for batch in self._batches for s in batch.series}, key=lambda s: s.id)


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:  # type: ignore[type-arg]
    return np.concatenate(parts) if parts else np.empty(0, dtype)
