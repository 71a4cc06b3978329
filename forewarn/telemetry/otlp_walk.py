"""Walks the bytes of an OTLP request, compiled: its metrics, the data points of numbers and histograms, its times.

Wire format: https://protobuf.dev/programming-guides/encoding. Field numbers: opentelemetry-proto, metrics.proto.
Every read is checked against the end of its message; whatever is malformed, or legal but unusual (a group, a field
that comes twice and would be merged), is left to the protobuf library: the answer is then None.
All of it is one file: a compiled function is cached by its own file's time, not by those of the files it calls into.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Columns of a metric's row: offsets of its parts, its field in the oneof, its Kind, its number of points.
RESOURCE_START, RESOURCE_STOP, START, STOP, NAME_START, NAME_STOP, UNIT_START, UNIT_STOP = range(8)
DATA_START, DATA_STOP, FIELD, KIND, POINTS, COLUMNS = range(8, 14)

GAUGE, SUM, HISTOGRAM, EXPONENTIAL = 5, 7, 9, 10
_FIRST, _SECOND, _THIRD = 0x0A, 0x12, 0x1A  # tags of length-delimited fields 1, 2, 3
_TEMPORALITY, _MONOTONIC = 0x10, 0x18  # of a Sum
_TIME, _DOUBLE, _INT, _ATTRIBUTE, _FLAGS = 0x19, 0x21, 0x31, 0x3A, 0x40  # of a NumberDataPoint
_DELTA = 1
_BAD = -1

# Columns of a histogram point's numbers, and of its layout (an explicit one has scale EXPLICIT).
COUNT, TOTAL, LEAST, MOST, ZERO_THRESHOLD, ZERO_COUNT, NUMBERS = range(7)
SCALE, POSITIVE_OFFSET, POSITIVE_LENGTH, NEGATIVE_OFFSET, LAYOUT = range(5)
EXPLICIT = 1 << 40


class Points(NamedTuple):
    """Data points of numbers as arrays, n points of k distinct series."""

    series: NDArray[np.int32]  # [n]: which of the k series
    times: NDArray[np.int64]  # [n]: as on the wire; 0 where there is none
    values: NDArray[np.float64]  # [n]: NaN where there is none, or the flag says so
    keys: NDArray[np.uint64]  # [k]: hash of resource, name, unit, kind and attributes as bytes
    metrics: NDArray[np.int64]  # [k]: row of the series' metric
    starts: NDArray[np.int64]  # [k]: where a data point of the series starts
    stops: NDArray[np.int64]  # [k]: and ends


class Histograms(NamedTuple):
    """Data points of histograms as arrays, n points of k distinct series; the last four fields as in `Points`."""

    series: NDArray[np.int32]  # [n]
    times: NDArray[np.int64]  # [n]
    since: NDArray[np.int64]  # [n]: start_time_unix_nano, 0 where there is none
    stale: NDArray[np.bool_]  # [n]: the flag NO_RECORDED_VALUE
    numbers: NDArray[np.float64]  # [n, NUMBERS]: count, sum, min, max (NaN where there is none), zero bucket
    layout: NDArray[np.int64]  # [n, LAYOUT]
    counts_at: NDArray[np.int64]  # [n + 1]: where a point's buckets start in `counts`; positive ones come first
    counts: NDArray[np.float64]
    bounds_at: NDArray[np.int64]  # [n + 1]: where a point's explicit bounds start in `bounds`
    bounds: NDArray[np.float64]
    keys: NDArray[np.uint64]  # [k]
    metrics: NDArray[np.int64]  # [k]
    starts: NDArray[np.int64]  # [k]
    stops: NDArray[np.int64]  # [k]


def find_metrics(payload: bytes) -> NDArray[np.int64] | None:
    """A row of `COLUMNS` for each metric of a request, int64 [m, COLUMNS]; None for the protobuf library to judge."""
    rows, count = _request(np.frombuffer(payload, np.uint8))
    return rows[:count] if count >= 0 else None


def read_points(payload: bytes, rows: NDArray[np.int64], seed: int) -> Points | None:
    """Data points of the gauges and sums among `rows`; None for the protobuf library to judge.

    `seed` (64 bits, secret of the process) makes the hashes unpredictable: nobody can construct a collision.
    """
    points, bad = _points(np.frombuffer(payload, np.uint8), rows, np.uint64(seed))
    return None if bad else Points(*points)


def read_histograms(payload: bytes, rows: NDArray[np.int64], seed: int) -> Histograms | None:
    """Data points of the histograms, explicit and exponential, among `rows`; None for the protobuf library to judge."""
    points, bad = _histograms(np.frombuffer(payload, np.uint8), rows, np.uint64(seed))
    return None if bad else Histograms(*points)


def all_timed(payload: bytes, latest_ns: int, time_tag: int, observed_tag: int = 0) -> bool:
    """Whether each record of a request has a time up to `latest_ns`; False also for the protobuf library to judge.

    latest_ns: at most 2**63 - 1. time_tag: tag of the record's time (fixed64), METRIC_TIME for the data points of
    metrics; observed_tag: tag of the time that stands in where that one is 0.
    """
    return bool(_timed(np.frombuffer(payload, np.uint8), latest_ns, time_tag, observed_tag))


METRIC_TIME, SPAN_START, LOG_TIME, LOG_OBSERVED = _TIME, 0x39, 0x09, 0x59


@njit(cache=True)
def _varint(data: Any, at: Any, end: int) -> Any:
    value = np.int64(0)
    shift = 0
    while at < end and shift < 64:
        byte = np.int64(data[np.uint64(at)])
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return value, _BAD


@njit(cache=True)
def _field(data: Any, at: Any, end: int) -> Any:
    """Tag, start of the content, position after the field (or _BAD)."""
    first = np.int64(data[np.uint64(at)])
    if first < 0x80 and first & 7 == 2 and first >= 8 and at + 1 < end and data[np.uint64(at + 1)] < 0x80:
        stop = at + 2 + np.int64(data[np.uint64(at + 1)])  # by far the most: a tag of one byte, a length of one byte
        return first, at + 2, stop if stop <= end else _BAD
    tag, at = _varint(data, at, end)
    if at < 0 or tag < 8 or tag >= 1 << 32:
        return 0, 0, _BAD
    wire = tag & 7
    if wire == 2:
        length, start = _varint(data, at, end)
        good = start >= 0 and 0 <= length <= end - start
        return tag, start, start + length if good else _BAD
    if wire == 0:
        return tag, at, _varint(data, at, end)[1]
    if wire == 1 or wire == 5:
        stop = at + (8 if wire == 1 else 4)
        return tag, at, stop if stop <= end else _BAD
    return 0, 0, _BAD


@njit(cache=True)
def _request(data: Any) -> tuple[Any, int]:
    rows, count = np.zeros((64, COLUMNS), np.int64), 0
    at, end = 0, len(data)
    while at < end:
        tag, start, at = _field(data, at, end)
        if at < 0:
            return rows, _BAD
        if tag == _FIRST:
            rows, count = _resource_metrics(data, start, at, rows, count)
            if count < 0:
                return rows, _BAD
    return rows, count


@njit(cache=True)
def _resource_metrics(data: Any, at: int, end: int, rows: Any, count: int) -> tuple[Any, int]:
    resource_start, resource_stop, seen = _only(data, at, end)
    if seen < 0:
        return rows, _BAD
    while at < end:
        tag, start, at = _field(data, at, end)
        if tag == _SECOND:
            first = count
            rows, count = _scope_metrics(data, start, at, rows, count)
            if count < 0:
                return rows, _BAD
            rows[first:count, RESOURCE_START] = resource_start
            rows[first:count, RESOURCE_STOP] = resource_stop
    return rows, count


@njit(cache=True)
def _only(data: Any, at: int, end: int) -> tuple[int, int, int]:
    """Start and end of the one field 1 of a message, and how many there are (_BAD: several, or malformed)."""
    first, last, seen = 0, 0, 0
    while at < end:
        tag, start, at = _field(data, at, end)
        if at < 0:
            return 0, 0, _BAD
        if tag == _FIRST:
            first, last, seen = start, at, seen + 1
    return first, last, seen if seen < 2 else _BAD


@njit(cache=True)
def _scope_metrics(data: Any, at: int, end: int, rows: Any, count: int) -> tuple[Any, int]:
    while at < end:
        tag, start, at = _field(data, at, end)
        if at < 0:
            return rows, _BAD
        if tag != _SECOND:
            continue
        if count == len(rows):
            rows = np.concatenate((rows, np.zeros_like(rows)))
        if not _metric(data, start, at, rows[count]):
            return rows, _BAD
        count += 1
    return rows, count


@njit(cache=True)
def _metric(data: Any, at: int, end: int, row: Any) -> bool:
    row[START], row[STOP] = at, end
    while at < end:
        tag, start, at = _field(data, at, end)
        if at < 0:
            return False
        if tag == _FIRST:
            row[NAME_START], row[NAME_STOP] = start, at
        elif tag == _THIRD:
            row[UNIT_START], row[UNIT_STOP] = start, at
        elif tag & 7 == 2 and GAUGE <= tag >> 3 <= 11:
            if row[FIELD]:
                return False  # the oneof was set twice: merged or replaced
            row[FIELD], row[DATA_START], row[DATA_STOP] = tag >> 3, start, at
    if row[FIELD] == GAUGE or SUM <= row[FIELD] <= EXPONENTIAL:
        return _data_points(data, row)
    return True


@njit(cache=True)
def _data_points(data: Any, row: Any) -> bool:
    at, end = row[DATA_START], row[DATA_STOP]
    temporality, monotonic, points = 0, 0, 0
    while at < end:
        tag, start, at = _field(data, at, end)
        if at < 0:
            return False
        if tag == _FIRST:
            points += 1
        elif tag == _TEMPORALITY:
            temporality = _varint(data, start, end)[0]
        elif tag == _MONOTONIC:
            monotonic = _varint(data, start, end)[0]
    row[POINTS] = points
    if row[FIELD] == SUM:  # as Kind counts: gauge 0, cumulative 1, delta 2
        row[KIND] = 2 if temporality == _DELTA else (1 if monotonic != 0 else 0)
    elif row[FIELD] != GAUGE:
        row[KIND] = 2 if temporality == _DELTA else 1
    return True


@njit(cache=True)
def _word(data: Any, at: int) -> Any:
    word, first = np.uint64(0), np.uint64(at)  # an index without sign needs no check, and eight loads become one
    for i in range(8):
        word |= np.uint64(data[first + np.uint64(i)]) << np.uint64(8 * i)
    return word


@njit(cache=True)
def _mixed(h: Any, word: Any) -> Any:
    # The finaliser of SplitMix64 (Steele et al. 2014): each bit of the input changes half of the output's.
    h = (h ^ word) + np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@njit(cache=True)
def _hashed(h: Any, data: Any, start: int, stop: int) -> Any:
    at = start
    while at + 8 <= stop:
        h = _mixed(h, _word(data, at))
        at += 8
    tail = np.uint64(stop - start)
    while at < stop:
        tail = (tail << np.uint64(8)) | np.uint64(data[np.uint64(at)])
        at += 1
    return _mixed(h, tail)


@njit(cache=True)
def _points(data: Any, rows: Any, seed: Any) -> tuple[Any, bool]:
    total = 0
    for m in range(len(rows)):
        if rows[m, FIELD] <= SUM:
            total += rows[m, POINTS]
    index, times, values = np.empty(total, np.int32), np.empty(total, np.int64), np.empty(total, np.float64)
    keys, metrics = np.empty(total, np.uint64), np.empty(total, np.int64)
    starts, stops = np.empty(total, np.int64), np.empty(total, np.int64)
    table = np.zeros(_table_size(total), np.int32)
    mask = np.uint64(len(table) - 1)
    n, known, resource, of_resource = 0, 0, -1, seed
    bad = False
    for m in range(len(rows)):
        if rows[m, POINTS] == 0 or rows[m, FIELD] > SUM:
            continue
        if rows[m, RESOURCE_START] != resource:
            resource = rows[m, RESOURCE_START]
            of_resource = _hashed(seed, data, resource, rows[m, RESOURCE_STOP])
        of_metric = _metric_hash(of_resource, data, rows[m])
        at, end = rows[m, DATA_START], rows[m, DATA_STOP]
        while at < end:
            tag, start, at = _field(data, at, end)
            if tag != _FIRST:
                continue
            key, times[n], good = _point(data, start, at, of_metric, values, n)
            bad = bad or not good
            slot = key & mask
            while table[slot] and keys[table[slot] - 1] != key:
                slot = (slot + np.uint64(1)) & mask
            if table[slot] == 0:
                keys[known], metrics[known], starts[known], stops[known] = key, m, start, at
                known += 1
                table[slot] = known
            index[n] = table[slot] - 1
            n += 1
    return (index, times, values, keys[:known], metrics[:known], starts[:known], stops[:known]), bad


@njit(cache=True)
def _table_size(total: int) -> int:
    size = 16
    while size < 2 * total:
        size *= 2
    return size


@njit(cache=True)
def _metric_hash(h: Any, data: Any, row: Any) -> Any:
    h = _hashed(h, data, row[NAME_START], row[NAME_STOP])
    h = _hashed(h, data, row[UNIT_START], row[UNIT_STOP])
    return _mixed(h, np.uint64(row[KIND]))


@njit(cache=True)
def _point(data: Any, at: int, end: int, h: Any, values: Any, n: int) -> tuple[Any, Any, bool]:
    """Key, time and whether it is well-formed; writes the value to values[n]."""
    time, stale = np.int64(0), False
    bits = values.view(np.int64)
    values[n] = np.nan
    while at < end:
        tag, start, at = _field(data, at, end)
        if at < 0:
            return h, time, False
        if tag == _TIME:
            time = np.int64(_word(data, start))
        elif tag == _DOUBLE:
            bits[n] = np.int64(_word(data, start))
        elif tag == _INT:
            values[n] = np.float64(np.int64(_word(data, start)))
        elif tag == _ATTRIBUTE:
            h = _hashed(h, data, start, at)
        elif tag == _FLAGS:
            stale = _varint(data, start, end)[0] & 1 != 0
    if stale:
        values[n] = np.nan
    return h, time, True


@njit(cache=True)
def _histograms(data: Any, rows: Any, seed: Any) -> tuple[Any, bool]:
    total = 0
    for m in range(len(rows)):
        if rows[m, FIELD] >= HISTOGRAM:
            total += rows[m, POINTS]
    index, times, since = np.empty(total, np.int32), np.zeros(total, np.int64), np.zeros(total, np.int64)
    stale, numbers = np.zeros(total, np.bool_), np.full((total, NUMBERS), np.nan)
    layout = np.zeros((total, LAYOUT), np.int64)
    counts_at, bounds_at = np.zeros(total + 1, np.int64), np.zeros(total + 1, np.int64)
    counts, bounds = np.empty(max(64, 16 * total)), np.empty(max(64, 16 * total))
    keys, metrics = np.empty(total, np.uint64), np.empty(total, np.int64)
    starts, stops = np.empty(total, np.int64), np.empty(total, np.int64)
    table = np.zeros(_table_size(total), np.int32)
    mask = np.uint64(len(table) - 1)
    n, known, bad = 0, 0, False
    for m in range(len(rows)):
        if rows[m, POINTS] == 0 or rows[m, FIELD] < HISTOGRAM or rows[m, FIELD] > EXPONENTIAL:
            continue
        h = _metric_hash(_hashed(seed, data, rows[m, RESOURCE_START], rows[m, RESOURCE_STOP]), data, rows[m])
        h = _mixed(h, np.uint64(rows[m, FIELD]))
        at, end = rows[m, DATA_START], rows[m, DATA_STOP]
        while at < end:
            tag, start, at = _field(data, at, end)
            if tag != _FIRST:
                continue
            counts, bounds = _roomier(counts, counts_at[n] + at - start), _roomier(bounds, bounds_at[n] + at - start)
            numbers[n, COUNT] = numbers[n, ZERO_THRESHOLD] = numbers[n, ZERO_COUNT] = 0.0
            if rows[m, FIELD] == HISTOGRAM:
                found = _explicit_point(
                    data, start, at, h, numbers[n], layout[n], counts, counts_at[n], bounds, bounds_at[n]
                )
            else:
                found = _exponential_point(
                    data, start, at, h, numbers[n], layout[n], counts, counts_at[n], bounds, bounds_at[n]
                )
            key, times[n], since[n], stale[n], counts_at[n + 1], bounds_at[n + 1], good = found
            bad = bad or not good
            slot = key & mask
            while table[slot] and keys[table[slot] - 1] != key:
                slot = (slot + np.uint64(1)) & mask
            if table[slot] == 0:
                keys[known], metrics[known], starts[known], stops[known] = key, m, start, at
                known += 1
                table[slot] = known
            index[n] = table[slot] - 1
            n += 1
    points = (
        index[:n], times[:n], since[:n], stale[:n], numbers[:n], layout[:n], counts_at[: n + 1], counts,
        bounds_at[: n + 1], bounds, keys[:known], metrics[:known], starts[:known], stops[:known],
    )  # fmt: skip
    return points, bad


@njit(cache=True)
def _roomier(array: Any, needed: int) -> Any:
    if needed <= len(array):
        return array
    larger = np.empty(2 * needed)
    larger[: len(array)] = array
    return larger


@njit(cache=True)
def _double(data: Any, at: int, bits: Any) -> Any:
    bits[0] = np.int64(_word(data, at))
    return bits.view(np.float64)[0]


@njit(cache=True)
def _explicit_point(
    data: Any,
    at: int,
    end: int,
    h: Any,
    numbers: Any,
    layout: Any,
    counts: Any,
    counted: int,
    bounds: Any,
    bounded: int,
) -> tuple[Any, Any, Any, bool, int, int, bool]:
    """Key, time, start, stale, ends of its counts and bounds, and whether it is well-formed."""
    time, since, stale, bits = np.int64(0), np.int64(0), False, np.empty(1, np.int64)
    layout[SCALE] = EXPLICIT
    while at < end:
        tag, start, at = _field(data, at, end)
        if at < 0 or tag == 0x31:  # counts that are not packed
            return h, time, since, stale, counted, bounded, False
        if tag == 0x11:
            since = np.int64(_word(data, start))
        elif tag == _TIME:
            time = np.int64(_word(data, start))
        elif tag == 0x21:
            numbers[COUNT] = np.float64(_word(data, start))
        elif tag == 0x29:
            numbers[TOTAL] = _double(data, start, bits)
        elif tag == 0x32 or tag == 0x3A:
            if (at - start) % 8:
                return h, time, since, stale, counted, bounded, False
            for position in range(start, at, 8):
                if tag == 0x32:
                    counts[counted] = np.float64(_word(data, position))
                    counted += 1
                else:
                    bounds[bounded] = _double(data, position, bits)
                    bounded += 1
        elif tag == 0x39:
            return h, time, since, stale, counted, bounded, False
        elif tag == 0x4A:
            h = _hashed(h, data, start, at)
        elif tag == 0x50:
            stale = _varint(data, start, end)[0] & 1 != 0
        elif tag == 0x59:
            numbers[LEAST] = _double(data, start, bits)
        elif tag == 0x61:
            numbers[MOST] = _double(data, start, bits)
    return h, time, since, stale, counted, bounded, True


@njit(cache=True)
def _exponential_point(
    data: Any,
    at: int,
    end: int,
    h: Any,
    numbers: Any,
    layout: Any,
    counts: Any,
    counted: int,
    bounds: Any,
    bounded: int,
) -> tuple[Any, Any, Any, bool, int, int, bool]:
    """As `_explicit_point`; buckets of positive values come first."""
    time, since, stale, bits = np.int64(0), np.int64(0), False, np.empty(1, np.int64)
    first, negative_start, negative_stop, seen = counted, 0, 0, 0
    while at < end:
        tag, start, at = _field(data, at, end)
        if at < 0:
            return h, time, since, stale, counted, bounded, False
        if tag == 0x0A:
            h = _hashed(h, data, start, at)
        elif tag == 0x11:
            since = np.int64(_word(data, start))
        elif tag == _TIME:
            time = np.int64(_word(data, start))
        elif tag == 0x21:
            numbers[COUNT] = np.float64(_word(data, start))
        elif tag == 0x29:
            numbers[TOTAL] = _double(data, start, bits)
        elif tag == 0x30:
            layout[SCALE] = _zigzag(_varint(data, start, end)[0])
        elif tag == 0x39:
            numbers[ZERO_COUNT] = np.float64(_word(data, start))
        elif tag == 0x42:
            layout[POSITIVE_OFFSET], counted = _buckets(data, start, at, counts, counted)
            if counted < 0 or seen & 1:
                return h, time, since, stale, first, bounded, False
            layout[POSITIVE_LENGTH] = counted - first
            seen |= 1
        elif tag == 0x4A:
            if seen & 2:
                return h, time, since, stale, first, bounded, False
            negative_start, negative_stop = start, at
            seen |= 2
        elif tag == 0x50:
            stale = _varint(data, start, end)[0] & 1 != 0
        elif tag == 0x61:
            numbers[LEAST] = _double(data, start, bits)
        elif tag == 0x69:
            numbers[MOST] = _double(data, start, bits)
        elif tag == 0x71:
            numbers[ZERO_THRESHOLD] = _double(data, start, bits)
    layout[NEGATIVE_OFFSET], counted = _buckets(data, negative_start, negative_stop, counts, counted)
    return h, time, since, stale, max(counted, first), bounded, counted >= 0


@njit(cache=True)
def _zigzag(value: Any) -> Any:
    """A sint32: the upper half of a longer varint does not count."""
    low = value & 0xFFFFFFFF
    return (low >> 1) ^ -(low & 1)


@njit(cache=True)
def _buckets(data: Any, at: int, end: int, counts: Any, counted: int) -> tuple[Any, int]:
    """Offset of the first bucket and the end of the counts (_BAD: malformed, or not packed)."""
    offset = np.int64(0)
    while at < end:
        tag, start, at = _field(data, at, end)
        if at < 0 or tag == 0x10:
            return offset, _BAD
        if tag == 0x08:
            offset = _zigzag(_varint(data, start, end)[0])
        elif tag == _SECOND:
            while start < at:
                value, start = _varint(data, start, at)
                if start < 0:
                    return offset, _BAD
                counts[counted] = np.float64(np.uint64(value))
                counted += 1
    return offset, counted


@njit(cache=True)
def _timed(data: Any, latest: int, time_tag: int, observed_tag: int) -> Any:
    """The request, its resources, scopes and records (field 1, then 2, 2, 2 of the one before), without recursion."""
    starts, ends = np.zeros(6, np.int64), np.zeros(6, np.int64)
    ends[0], depth, deepest = len(data), 0, 5 if time_tag == _TIME else 3
    while True:
        if starts[depth] >= ends[depth]:
            if depth == 0:
                return True
            depth -= 1
            continue
        tag, start, at = _field(data, starts[depth], ends[depth])
        if at < 0:
            return False
        starts[depth] = at
        if not _leads_on(tag, depth):
            continue
        if depth + 1 < deepest:
            depth += 1
            starts[depth], ends[depth] = start, at
        elif not _has_time(data, start, at, latest, time_tag, observed_tag):
            return False


@njit(cache=True)
def _leads_on(tag: int, depth: int) -> bool:
    """Whether a field of a message `depth` levels below the request holds records, or is one."""
    if depth == 0 or depth == 4:  # resources of a request; data points of a gauge, sum, histogram or summary
        return tag == _FIRST
    if depth == 3:
        return tag & 7 == 2 and (tag >> 3 == GAUGE or SUM <= tag >> 3 <= 11)
    return tag == _SECOND


@njit(cache=True)
def _has_time(data: Any, at: int, end: int, latest: int, time_tag: int, observed_tag: int) -> Any:
    time = observed = np.int64(0)
    while at < end:
        tag, start, at = _field(data, at, end)
        if at < 0:
            return False
        if tag == time_tag:
            time = np.int64(_word(data, start))
        elif tag == observed_tag:
            observed = np.int64(_word(data, start))
    told = time if time != 0 else observed
    return 0 < told <= latest
