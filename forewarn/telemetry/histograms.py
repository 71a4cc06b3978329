"""Histograms to signals: `name.count` and `.sum`, and of what came since the last point `.mean`, `.p50` and `.p99`."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forewarn.telemetry import histogram_kernel as kernel
from forewarn.telemetry.classic_histograms import ClassicHistograms
from forewarn.telemetry.otlp_walk import Histograms
from forewarn.telemetry.samples import Kind, SampleBatch, Series

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

QUANTILES = (0.5, 0.99)
_QUANTILES = np.array(QUANTILES)
_GAUGES = (".mean", *(f".p{100 * q:g}" for q in QUANTILES))
_COLUMNS = 2 + len(_GAUGES)
_MOST = 200_000  # histograms whose last point is remembered
_HOUR = 3_600 * 10**9
_SETS_KEPT, _SERIES_KEPT = 2_000, 1_000_000


@dataclass(slots=True)
class _Last:
    """The last point of each cumulative histogram, by row; `pool` holds their buckets."""

    times: I64
    numbers: F64
    layout: I64
    pool: F64
    used: int = 0

    @classmethod
    def empty(cls, rows: int) -> "_Last":
        layout = np.zeros((rows, kernel.KNOWN_LAYOUT), np.int64)
        return cls(
            np.full(rows, kernel.UNKNOWN, np.int64), np.zeros((rows, kernel.KNOWN_NUMBERS)), layout, np.empty(1024)
        )

    def grown(self, rows: int) -> "_Last":
        """With room for so many rows."""
        new = _Last.empty(rows)
        for name in ("times", "numbers", "layout"):
            getattr(new, name)[: len(self.times)] = getattr(self, name)
        new.pool, new.used = self.pool, self.used
        return new


class HistogramState:
    """What the last points of histograms were. One for each consumer of a partition, fed in the order of the log.

    A cumulative point tells the quantiles of what came since the point before it: none for the first point of a
    series, after a reset whose time is not told, or for one that is late or repeated. `start_time_unix_nano` later than
    the last point is a restart: then the point counts from zero.
    """

    def __init__(self, most: int = _MOST) -> None:
        self.classic = ClassicHistograms()
        self._refused = 0
        self._most = most
        self._rows: dict[Series, int] = {}
        self._last = _Last.empty(64)
        self._sets: dict[int, tuple[tuple[Series, ...], I64]] = {}  # by id of the tuple, held here
        self._tallies = np.zeros(2, np.int64)

    @property
    def tallies(self) -> dict[str, int]:
        """Points that came late or twice, and resets, so far."""
        return {"late": int(self._tallies[0]), "resets": int(self._tallies[1])}

    @property
    def refused(self) -> int:
        """Points of series for which there was no room, so far."""
        return self._refused + self.classic.refused

    def gauges(self, series: tuple[Series, ...], points: Histograms) -> F64:
        """Mean and quantiles of n points, float64 [n, 1 + len(QUANTILES)]; NaN where nothing can be said.

        series: the k series of the points, `kind` tells their temporality.
        """
        rows = self._rows_of(series, int(points.times.max(initial=0)))
        delta = np.array([s.kind == Kind.DELTA for s in series], np.bool_)
        out, last = np.empty((len(points.times), 1 + len(QUANTILES))), self._last
        self._refused += int((rows[points.series] < 0).sum())
        last.pool, last.used = kernel.quantiles_of_points(
            rows[points.series], points.times, points.since, points.stale, delta[points.series], points.numbers,
            points.layout, points.counts_at, points.counts, points.bounds_at, points.bounds, last.times,
            last.numbers, last.layout, last.pool, last.used, _QUANTILES, out, self._tallies,
        )  # fmt: skip
        return out

    def classic_gauges(self, batch: SampleBatch) -> tuple[SampleBatch, SampleBatch | None]:
        """The batch without the buckets of Prometheus's classic histograms, and the signals that they make."""
        rest, found = self.classic.take(batch)
        if found is None:
            return rest, None
        series, points = found
        return rest, _batch(_derived(series, _GAUGES), points, self.gauges(series, points))

    def _rows_of(self, series: tuple[Series, ...], newest: int) -> I64:
        known = self._sets.get(id(series))
        if known is not None:
            return known[1]
        if len(self._rows) + len(series) > self._most:
            self._forget_old(newest - _HOUR)
        rows = np.array([self._row(s) for s in series], np.int64)
        if len(self._sets) > _SETS_KEPT:
            self._sets.clear()
        if (rows >= 0).all():
            self._sets[id(series)] = series, rows
        return rows

    def _row(self, series: Series) -> int:
        row = self._rows.get(series)
        if row is None:
            if len(self._rows) >= self._most:
                return -1
            row = self._rows[series] = len(self._rows)
            if row >= len(self._last.times):
                self._last = self._last.grown(2 * row)
        return row

    def _forget_old(self, before: int) -> None:
        """Make room: series without a point since `before` are forgotten."""
        keep = [(s, row) for s, row in self._rows.items() if self._last.times[row] >= before]
        old, self._last = self._last, _Last.empty(max(64, len(keep)))
        rows = np.array([row for _, row in keep], np.int64)
        for name in ("times", "numbers", "layout"):
            getattr(self._last, name)[: len(rows)] = getattr(old, name)[rows]
        self._last.pool, self._last.used = _packed(self._last.layout[: len(rows)], old.pool)
        self._rows = {s: row for row, (s, _) in enumerate(keep)}
        self._sets.clear()


def _packed(layout: I64, pool: F64) -> tuple[F64, int]:
    """The buckets of these rows alone, one after the other, and how much that is; their places in `layout` follow."""
    room = layout[:, kernel.ROOM]
    place = np.cumsum(room) - room
    used = int(room.sum())
    packed = pool[np.repeat(layout[:, kernel.PLACE] - place, room) + np.arange(used)]
    layout[:, kernel.PLACE] = place
    return packed, used


_derived_sets: dict[tuple[int, int], tuple[tuple[Series, ...], tuple[Series, ...]]] = {}


def _derived(series: tuple[Series, ...], suffixes: tuple[str, ...]) -> tuple[Series, ...]:
    """The signals of each series in turn; the same tuple for the same tuple."""
    known = _derived_sets.get((id(series), len(suffixes)))
    if known is None:
        if len(_derived_sets) > _SETS_KEPT or sum(map(_made, _derived_sets.values())) > _SERIES_KEPT:
            _derived_sets.clear()
        made = tuple(_signal(s, suffix) for s in series for suffix in suffixes)
        known = _derived_sets[id(series), len(suffixes)] = series, made
    return known[1]


def _made(known: tuple[tuple[Series, ...], tuple[Series, ...]]) -> int:
    return len(known[1])


def _signal(series: Series, suffix: str) -> Series:
    counter = suffix in (".count", ".sum")
    unit = "" if suffix == ".count" else series.unit
    return replace(series, signal=series.signal + suffix, kind=series.kind if counter else Kind.GAUGE, unit=unit)


def histogram_batch(
    series: tuple[Series, ...], points: Histograms, factors: F64 | None, state: HistogramState
) -> SampleBatch:
    """All signals of histogram points. series: [k]; factors: [n], of their unit to the base unit, None: all 1."""
    gauges = state.gauges(series, points)
    values = np.column_stack([points.numbers[:, kernel.COUNT], points.numbers[:, kernel.TOTAL], gauges])
    if factors is not None:
        values[:, 1:] *= factors[:, None]
    return _batch(_derived(series, (".count", ".sum", *_GAUGES)), points, values)


def _batch(series: tuple[Series, ...], points: Histograms, values: F64) -> SampleBatch:
    columns = values.shape[1]
    values[points.stale] = np.nan
    there = ~np.isnan(values) | points.stale[:, None]
    index = (points.series.astype(np.int32)[:, None] * columns + np.arange(columns, dtype=np.int32))[there]
    return compacted(SampleBatch(series, index, np.repeat(points.times, columns)[there.ravel()], values[there]))


_compacted: dict[tuple[int, bytes], tuple[tuple[Series, ...], tuple[Series, ...]]] = {}


def compacted(batch: SampleBatch) -> SampleBatch:
    """The batch without series that have no sample in it; the same tuple for the same series."""
    used = np.bincount(batch.index, minlength=len(batch.series)) > 0
    if used.all():
        return batch
    key = id(batch.series), used.tobytes()
    known = _compacted.get(key)
    if known is None:
        if len(_compacted) > _SETS_KEPT:
            _compacted.clear()
        kept = tuple(s for s, there in zip(batch.series, used, strict=True) if there)
        known = _compacted[key] = batch.series, kept
    renumbered = (np.cumsum(used) - 1).astype(np.int32)
    return SampleBatch(known[1], renumbered[batch.index], batch.times, batch.values)
