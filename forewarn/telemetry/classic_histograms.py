"""Prometheus's classic histograms, one series for each bucket: gathered into histogram points.

Buckets of a histogram may come in several messages, because remote write deals series out to shards. A point is
complete when every part that the histogram has had has come for that time.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from forewarn.telemetry import histogram_kernel as kernel
from forewarn.telemetry.otlp_walk import LAYOUT, NUMBERS, Histograms
from forewarn.telemetry.samples import Kind, SampleBatch, Series

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Part = float | str  # the upper bound of a bucket, 'count' (also le="+Inf") or 'sum'
Found = tuple[tuple[Series, ...], Histograms]

_RINGS = 4  # times that are gathered at once: shards of remote write may be so many scrapes apart
_MISSES = 8  # times in a row that stay incomplete until the parts of a histogram are learned anew
_MOST_FAMILIES, _MOST_BUCKETS = 200_000, 512
_SETS_KEPT = 10_000
_HOUR = 3_600 * 10**9
_NONE = np.zeros(0, np.int64)


@dataclass(slots=True)
class _Family:
    number: int
    bounds: set[float] = field(default_factory=set)  # finite upper bounds
    others: set[str] = field(default_factory=set)  # 'count', 'sum'

    def slots(self) -> dict[Part, int]:
        """Place of each part in a gathered row; empty where the parts tell nothing together."""
        if "count" not in self.others or not (self.bounds or "sum" in self.others):
            return {}
        parts: list[Part] = [*sorted(self.bounds), *sorted(self.others)]
        return {part: i for i, part in enumerate(parts)}


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """Of a tuple of series: the family and slot of each (-1: none), and those that are signals of their own."""

    series: tuple[Series, ...]
    families: I64  # the distinct families and their versions
    versions: I64
    family: I64
    slot: I64
    visible: tuple[Series, ...]
    renumbered: NDArray[np.int32]  # -1: a bucket, which is no signal


class _Table:
    """By family: where its gathered rows are (`_RINGS` of `sizes` values from `place` on) and what they are made of."""

    def __init__(self, families: int) -> None:
        self.place, self.sizes, self.room, self.buckets, self.bounds_place, self.version, self.misses, self.last = (
            np.zeros(families, np.int64) for _ in range(8)
        )
        self.has_sum = np.zeros(families, np.bool_)
        self.ring_times = np.full((families, _RINGS), kernel.UNKNOWN, np.int64)
        self.ring_left = np.zeros((families, _RINGS), np.int64)

    def grown(self, families: int) -> "_Table":
        """With room for so many families."""
        new = _Table(families)
        for name, array in vars(self).items():
            getattr(new, name)[: len(array)] = array
        return new


class ClassicHistograms:
    """Gathers samples of `…_bucket{le}`, `…_count` and `…_sum`, in the order of the log.

    Where there is no room for a new histogram, those without a sample for an hour are forgotten. `refused` counts
    histograms that found none all the same, in each message.
    """

    def __init__(self) -> None:
        self.refused = 0
        self._families: dict[Series, _Family] = {}
        self._names: list[Series] = []  # by number of the family
        self._free: list[int] = []  # numbers of families that were forgotten, with their room
        self._known: dict[int, tuple[tuple[Series, ...], _Parts | None]] = {}  # by id of the tuple, held here
        self._tuples: dict[bytes, tuple[Series, ...]] = {}
        self._table = _Table(64)
        self._pool, self._used = np.empty(4096), 0
        self._bounds, self._bounds_used = np.empty(1024), 0

    def take(self, batch: SampleBatch) -> tuple[SampleBatch, Found | None]:
        """The batch without buckets, and the points that are complete with it (with their series)."""
        parts = self._parts_of(batch.series, int(batch.times.max(initial=0)))
        if parts is None:
            return batch, None
        mine = parts.family[batch.index] >= 0
        index = batch.index[mine]
        found = self._gather(parts.family[index], parts.slot[index], batch.times[mine], batch.values[mine])
        if len(parts.visible) == len(parts.series):
            return batch, found
        renumbered = parts.renumbered[batch.index]
        keep = renumbered >= 0
        return SampleBatch(parts.visible, renumbered[keep], batch.times[keep], batch.values[keep]), found

    def _gather(self, family: I64, slot: I64, times: I64, values: F64) -> Found | None:
        table, live = self._table, ~np.isnan(values)
        table.last[family] = times
        rows = kernel.fill_rings(
            family[live], slot[live], times[live], values[live], table.place, table.sizes, table.ring_times,
            table.ring_left, table.misses, self._pool,
        )  # fmt: skip
        ended, first = np.unique(family[~live], return_index=True)
        found = self._points(rows, ended, times[~live][first])
        for number in {*ended.tolist(), *family[table.misses[family] > _MISSES].tolist()}:
            self._relearn(number)
        return found

    def _points(self, complete: tuple[I64, I64, I64, F64], ended: I64, ended_at: I64) -> Found | None:
        done, times, at, rows = complete
        if not len(done) and not len(ended):
            return None
        table, more = self._table, len(ended)
        numbers, counts_at, counts, bounds_at, bounds = kernel.classic_points(
            done, at, rows, table.buckets, table.has_sum, table.bounds_place, self._bounds
        )
        distinct, which = np.unique(np.concatenate([done, ended]), return_inverse=True)
        layout = np.zeros((len(which), LAYOUT), np.int64)
        layout[:, kernel.SCALE] = kernel.EXPLICIT
        points = Histograms(
            which.astype(np.int32), np.concatenate([times, ended_at]), np.zeros(len(which), np.int64),
            np.arange(len(which)) >= len(done), np.concatenate([numbers, np.zeros((more, NUMBERS))]), layout,
            np.concatenate([counts_at, np.full(more, counts_at[-1])]), counts,
            np.concatenate([bounds_at, np.full(more, bounds_at[-1])]), bounds,
            _NONE.astype(np.uint64), _NONE, _NONE, _NONE,
        )  # fmt: skip
        return self._series(distinct), points

    def _series(self, families: I64) -> tuple[Series, ...]:
        """Series of families: the same tuple for the same families."""
        key = families.tobytes()
        if key not in self._tuples:
            if len(self._tuples) > _SETS_KEPT:
                self._tuples.clear()
            self._tuples[key] = tuple(self._names[f] for f in families.tolist())
        return self._tuples[key]

    def _parts_of(self, series: tuple[Series, ...], newest: int) -> _Parts | None:
        held = self._known.get(id(series))
        if held is not None:
            parts = held[1]
            if parts is None or np.array_equal(self._table.version[parts.families], parts.versions):
                return parts
        if len(self._known) > _SETS_KEPT:
            self._known.clear()
        refused = self.refused
        parts = self._located(series, newest)
        if self.refused == refused:  # else there may be room next time
            self._known[id(series)] = series, parts
        return parts

    def _located(self, series: tuple[Series, ...], newest: int) -> _Parts | None:
        roles = [role_of(s) for s in series]
        bases = {role[0] for role in roles if role}
        if not bases:
            return None
        if len(self._families) + len(bases) > _MOST_FAMILIES:
            self._forget_old(newest - _HOUR)
        families = [self._learned(*role, newest) if role else None for role in roles]
        self.refused += sum(base not in self._families for base in bases)
        changed = {f.number: f for f in families if f is not None and f.slots() and not self._laid_out(f)}
        for each in changed.values():
            self._lay_out(each)
        places = {f.number: f.slots() for f in families if f is not None}
        family, slot = np.full(len(series), -1, np.int64), np.full(len(series), -1, np.int64)
        for i, (one, role) in enumerate(zip(families, roles, strict=True)):
            if one is not None and role is not None and role[1] in places[one.number]:
                family[i], slot[i] = one.number, places[one.number][role[1]]
        visible = np.array(
            [role is None or not s.signal.endswith("_bucket") for s, role in zip(series, roles, strict=True)]
        )
        distinct = np.array(sorted(places), np.int64)
        return _Parts(
            series, distinct, self._table.version[distinct], family, slot,
            tuple(s for s, there in zip(series, visible, strict=True) if there),
            np.where(visible, np.cumsum(visible) - 1, -1).astype(np.int32),
        )  # fmt: skip

    def _learned(self, base: Series, part: Part, time: int) -> _Family | None:
        """The family with this part; None where there is no room for it."""
        family = self._families.get(base)
        if family is None:
            if len(self._families) >= _MOST_FAMILIES:
                return None
            family = self._families[base] = self._new(base)
            self._table.last[family.number] = time
        if isinstance(part, str):
            family.others.add(part)
        elif len(family.bounds) < _MOST_BUCKETS:
            family.bounds.add(part)
        return family

    def _new(self, base: Series) -> _Family:
        if self._free:
            family = _Family(self._free.pop())
            self._names[family.number] = base
            return family
        family = _Family(len(self._names))
        self._names.append(base)
        if family.number >= len(self._table.place):
            self._table = self._table.grown(2 * family.number)
        return family

    def _forget_old(self, before: int) -> None:
        """Make room: families without a sample since `before` are forgotten."""
        old = np.flatnonzero(self._table.last[: len(self._names)] < before).tolist()
        for number in old:
            self._relearn(number)
            del self._families[self._names[number]]
            self._table.last[number] = np.iinfo(np.int64).max  # until another has its number
        self._free += old
        if old:
            self._tuples.clear()

    def _laid_out(self, family: _Family) -> bool:
        table, f = self._table, family.number
        size = len(family.bounds) + len(family.others)
        return bool(table.sizes[f] == size and table.buckets[f] == len(family.bounds))

    def _lay_out(self, family: _Family) -> None:
        """Give a family room for its parts; what was being gathered is lost."""
        table, f = self._table, family.number
        table.sizes[f], table.buckets[f] = len(family.bounds) + len(family.others), len(family.bounds)
        table.has_sum[f] = "sum" in family.others
        if table.room[f] < table.sizes[f]:
            table.room[f] = table.sizes[f]
            table.place[f], self._used = self._used, self._used + _RINGS * int(table.sizes[f])
            self._pool = _with_room(self._pool, self._used)
            table.bounds_place[f], self._bounds_used = self._bounds_used, self._bounds_used + int(table.sizes[f])
            self._bounds = _with_room(self._bounds, self._bounds_used)
        start = table.bounds_place[f]
        self._bounds[start : start + len(family.bounds)] = sorted(family.bounds)
        table.ring_times[f] = kernel.UNKNOWN
        table.misses[f] = 0
        table.version[f] += 1

    def _relearn(self, number: int) -> None:
        """Forget the parts of a family that has ended, or that lacks a part which no longer comes."""
        family = self._families[self._names[number]]
        family.bounds.clear()
        family.others.clear()
        self._table.sizes[number] = self._table.misses[number] = 0
        self._table.ring_times[number] = kernel.UNKNOWN
        self._table.version[number] += 1


def role_of(series: Series) -> tuple[Series, Part] | None:
    """The histogram that a series is a part of, and which part; None where it is none."""
    if series.kind != Kind.CUMULATIVE:
        return None
    base, _, suffix = series.signal.rpartition("_")
    if suffix in ("count", "sum"):
        return replace(series, signal=base), suffix
    told = dict(series.attributes).get("le")
    if suffix != "bucket" or told is None:
        return None
    try:
        bound = float(told)
    except ValueError:
        return None
    if bound != bound:
        return None
    attributes = tuple(pair for pair in series.attributes if pair[0] != "le")
    return replace(series, signal=base, attributes=attributes), "count" if bound == float("inf") else bound


def _with_room(array: F64, needed: int) -> F64:
    if needed <= len(array):
        return array
    larger = np.empty(2 * needed)
    larger[: len(array)] = array
    return larger
