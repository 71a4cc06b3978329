"""Compiled loop from histogram points to quantiles: what a point adds to the last one of its series, and its quantiles.

Quantiles follow Prometheus's histogram_quantile (promql/quantile.go): linear inside explicit buckets and the zero
bucket, exponential inside exponential buckets. Bucket i of an exponential histogram is (base^i, base^(i+1)] with
base = 2^(2^-scale) (OpenTelemetry metrics data model, "ExponentialHistogram").
"""

from typing import Any

import numpy as np
from numba import njit

COUNT, TOTAL, LEAST, MOST, ZERO_THRESHOLD, ZERO_COUNT = range(6)  # columns as in otlp_walk
SCALE, POSITIVE_OFFSET, POSITIVE_LENGTH, NEGATIVE_OFFSET = range(4)
EXPLICIT = 1 << 40
KNOWN_NUMBERS, KNOWN_LAYOUT = 3, 9  # count, sum, zero count; the layout, buckets, place, room, bounds' hash, bounds
_BUCKETS, PLACE, ROOM, _HASH = 4, 5, 6, 7
UNKNOWN = np.iinfo(np.int64).min
MEAN, FIRST_QUANTILE = 0, 1  # columns of the answer


@njit(cache=True)
def quantiles_of_points(
    rows: Any, times: Any, since: Any, stale: Any, delta: Any, numbers: Any, layout: Any, counts_at: Any, counts: Any,
    bounds_at: Any, bounds: Any, known_times: Any, known_numbers: Any, known_layout: Any, pool: Any, used: int,
    quantiles: Any, out: Any, tallies: Any,
) -> tuple[Any, int]:  # fmt: skip
    """Write mean and quantiles of n points into out, float64 [n, 1 + len(quantiles)], NaN where there are none.

    rows: int64 [n], the place of a point's series in the known_ arrays, -1: none is kept. pool[:used] holds the last
    buckets of cumulative series. tallies counts: late or repeated points, resets.
    """
    for i in range(len(times)):
        out[i, :] = np.nan
        row, start, stop = rows[i], counts_at[i], counts_at[i + 1]
        own, place = bounds[bounds_at[i] : bounds_at[i + 1]], layout[i]
        if stale[i]:
            if row >= 0:
                known_times[row] = UNKNOWN
            continue
        if place[SCALE] == EXPLICIT and stop > start and stop - start != len(own) + 1:
            continue
        if delta[i]:
            _tell(
                counts[start:stop],
                own,
                numbers[i],
                place,
                numbers[i, COUNT],
                numbers[i, TOTAL],
                True,
                quantiles,
                out[i],
            )
            continue
        if row < 0:
            continue
        if known_times[row] != UNKNOWN and times[i] <= known_times[row]:
            tallies[0] += 1
            continue
        grown, more = counts[start:stop].copy(), numbers[i].copy()
        restarted = known_times[row] != UNKNOWN and known_times[row] < since[i] < times[i]
        bounds_hash = _bounds_hash(own)
        good = restarted
        if known_times[row] != UNKNOWN and not restarted:
            last = known_layout[row]
            before = pool[last[PLACE] : last[PLACE] + last[_BUCKETS]]
            good = _subtract(grown, more, place, before, known_numbers[row], last, bounds_hash)
            tallies[1] += not good
        pool, used = _remember(
            counts[start:stop], numbers[i], place, bounds_hash, known_numbers[row], known_layout[row], pool, used
        )
        known_times[row] = times[i]
        if good:
            _tell(grown, own, more, place, more[COUNT], more[TOTAL], False, quantiles, out[i])
    return pool, used


@njit(cache=True)
def _bounds_hash(bounds: Any) -> Any:
    h = np.uint64(len(bounds))
    for word in bounds.view(np.uint64):
        h = (h ^ word) * np.uint64(0x94D049BB133111EB)
        h ^= h >> np.uint64(31)
    return np.int64(h)


@njit(cache=True)
def _remember(
    counts: Any, numbers: Any, place: Any, bounds_hash: Any, known: Any, last: Any, pool: Any, used: int
) -> tuple[Any, int]:
    known[0], known[1], known[2] = numbers[COUNT], numbers[TOTAL], numbers[ZERO_COUNT]
    last[:4] = place[:4]
    if last[ROOM] < len(counts):
        last[PLACE], last[ROOM] = used, len(counts) + len(counts) // 4
        used += last[ROOM]
        if used > len(pool):
            larger = np.empty(2 * used)
            larger[: len(pool)] = pool
            pool = larger
    last[_BUCKETS], last[_HASH] = len(counts), bounds_hash
    pool[last[PLACE] : last[PLACE] + len(counts)] = counts
    return pool, used


@njit(cache=True)
def _subtract(grown: Any, more: Any, place: Any, before: Any, known: Any, last: Any, bounds_hash: Any) -> bool:
    """What came since the last point; False where the counts fell or cannot be compared: a reset."""
    more[COUNT] -= known[0]
    more[TOTAL] -= known[1]
    more[ZERO_COUNT] -= known[2]
    if more[COUNT] < 0 or more[ZERO_COUNT] < 0 or last[SCALE] < place[SCALE]:
        return False
    if place[SCALE] == EXPLICIT:
        if len(grown) != len(before) or last[_HASH] != bounds_hash:
            return False
        grown -= before
        return not (grown < 0).any()
    if last[SCALE] == EXPLICIT:
        return False
    shift = min(last[SCALE] - place[SCALE], 62)
    positive, negative = place[POSITIVE_LENGTH], len(grown) - place[POSITIVE_LENGTH]
    for k in range(len(before)):
        if before[k] == 0:
            continue
        if k < last[POSITIVE_LENGTH]:
            at, length, base = ((last[POSITIVE_OFFSET] + k) >> shift) - place[POSITIVE_OFFSET], positive, 0
        else:
            index = last[NEGATIVE_OFFSET] + k - last[POSITIVE_LENGTH]
            at, length, base = (index >> shift) - place[NEGATIVE_OFFSET], negative, positive
        if at < 0 or at >= length:
            return False
        grown[base + at] -= before[k]
    return not (grown < 0).any()


@njit(cache=True)
def _tell(
    counts: Any,
    bounds: Any,
    numbers: Any,
    place: Any,
    count: float,
    total: float,
    bounded: bool,
    quantiles: Any,
    out: Any,
) -> None:
    """Mean and quantiles of buckets; `bounded`: min and max are those of the very same values."""
    if count > 0 and np.isfinite(total):
        out[MEAN] = total / count
    exact = counts.sum() + (0.0 if place[SCALE] == EXPLICIT else numbers[ZERO_COUNT])
    if not exact > 0 or not np.isfinite(exact):
        return
    least, most = (numbers[LEAST], numbers[MOST]) if bounded else (np.nan, np.nan)
    for q in range(len(quantiles)):
        rank = quantiles[q] * exact
        if place[SCALE] == EXPLICIT:
            value = _explicit_quantile(counts, bounds, rank, least, most)
        else:
            value = _exponential_quantile(counts, numbers, place, rank)
            value = least if value < least else (most if value > most else value)
        out[FIRST_QUANTILE + q] = value if np.isfinite(value) else np.nan


@njit(cache=True)
def _explicit_quantile(counts: Any, bounds: Any, rank: float, least: float, most: float) -> float:
    """Linear inside a bucket. The first one starts at min, else at 0 (at its bound where that is not positive); the
    open last one ends at max, else at its lower bound. One bucket without bounds lies between min and max."""
    before, bucket = 0.0, 0
    while bucket < len(counts) - 1 and before + counts[bucket] < rank:
        before += counts[bucket]
        bucket += 1
    if not len(bounds):
        low, high = least, most
    elif bucket == len(bounds):
        low = bounds[-1]
        high = most if most > low else low
    else:
        high = bounds[bucket]
        low = bounds[bucket - 1] if bucket else min(0.0, high)
        if not bucket and least <= high:
            low = least
    return low + (high - low) * min((rank - before) / counts[bucket], 1.0) if counts[bucket] > 0 else high


@njit(cache=True)
def _exponential_quantile(counts: Any, numbers: Any, place: Any, rank: float) -> float:
    positive = place[POSITIVE_LENGTH]
    width = 2.0 ** -np.float64(place[SCALE])
    before = 0.0
    for k in range(len(counts) - 1, positive - 1, -1):  # negative values: the largest magnitude first
        if counts[k] > 0 and before + counts[k] >= rank:
            index = place[NEGATIVE_OFFSET] + k - positive
            return -(2.0 ** (width * (index + 1 - (rank - before) / counts[k])))
        before += counts[k]
    zero, edge = numbers[ZERO_COUNT], numbers[ZERO_THRESHOLD]
    if zero > 0 and before + zero >= rank:
        low, high = (-edge if len(counts) > positive else 0.0), (edge if positive else 0.0)
        return low + (high - low) * (rank - before) / zero
    before += zero
    value = np.nan
    for k in range(positive):
        if counts[k] > 0:
            index = place[POSITIVE_OFFSET] + k
            value = 2.0 ** (width * (index + min((rank - before) / counts[k], 1.0)))
            if before + counts[k] >= rank:
                return value
        before += counts[k]
    return value


@njit(cache=True)
def fill_rings(
    family: Any, slot: Any, times: Any, values: Any, place: Any, sizes: Any, ring_times: Any, ring_left: Any,
    misses: Any, pool: Any,
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """Gather n samples of classic histograms, which come one bucket at a time, by family and time.

    family, slot: int64 [n]; slots of a family are its buckets by bound, then count and sum. ring_times, ring_left:
    int64 [F, P], the times that are being gathered and how many slots each lacks; pool: their values, P x size from
    `place` on. A time that is left incomplete for a newer one adds to `misses`. Returns the complete ones: family [c],
    times [c], where the values start [c + 1], and the values.
    """
    done, done_times = np.empty(len(times), np.int64), np.empty(len(times), np.int64)
    at, found, n = np.zeros(len(times) + 1, np.int64), np.empty(max(len(times), 16)), 0
    for i in range(len(times)):
        f, size = family[i], sizes[family[i]]
        ring = _ring(ring_times[f], times[i])
        if ring < 0:
            continue
        start = place[f] + ring * size
        if ring_times[f, ring] != times[i]:
            misses[f] += ring_times[f, ring] != UNKNOWN
            ring_times[f, ring], ring_left[f, ring] = times[i], size
            pool[start : start + size] = np.nan
        if np.isnan(pool[start + slot[i]]):
            ring_left[f, ring] -= 1
        pool[start + slot[i]] = values[i]
        if ring_left[f, ring] == 0:
            misses[f] = 0
            if at[n] + size > len(found):
                larger = np.empty(2 * (len(found) + size))
                larger[: len(found)] = found
                found = larger
            found[at[n] : at[n] + size] = pool[start : start + size]
            done[n], done_times[n], at[n + 1] = f, times[i], at[n] + size
            n += 1
            ring_times[f, ring] = UNKNOWN
    return done[:n], done_times[:n], at[: n + 1], found


@njit(cache=True)
def _ring(times: Any, time: Any) -> int:
    """The ring of a time: its own, else an empty one, else the oldest; -1 where all are newer."""
    oldest = 0
    for r in range(len(times)):
        if times[r] == time:
            return r
        if times[r] < times[oldest]:
            oldest = r
    return oldest if times[oldest] < time else -1


@njit(cache=True)
def classic_points(
    family: Any, at: Any, values: Any, buckets: Any, has_sum: Any, bounds_place: Any, known_bounds: Any
) -> tuple[Any, Any, Any, Any, Any]:
    """Complete families as histogram points: numbers [c, 6], counts_at, counts, bounds_at, bounds. A row of values is
    the finite buckets (each holds the ones before it, too), the count of all, and the sum where there is one."""
    n = len(family)
    numbers, counts = np.full((n, 6), np.nan), np.empty(len(values) + n)
    counts_at, bounds_at, bounds = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64), np.empty(len(values) + n)
    for i in range(n):
        f, own = family[i], values[at[i] : at[i + 1]]
        numbers[i, ZERO_THRESHOLD] = numbers[i, ZERO_COUNT] = 0.0
        finite, k, b = buckets[f], counts_at[i], bounds_at[i]
        numbers[i, COUNT] = own[finite]
        numbers[i, TOTAL] = own[finite + 1] if has_sum[f] else np.nan
        if finite:
            counts[k] = own[0]
            for j in range(finite):
                counts[k + j + 1] = own[j + 1] - own[j]
                bounds[b + j] = known_bounds[bounds_place[f] + j]
            k += finite + 1
            b += finite
        counts_at[i + 1], bounds_at[i + 1] = k, b
    return numbers, counts_at, counts, bounds_at, bounds
