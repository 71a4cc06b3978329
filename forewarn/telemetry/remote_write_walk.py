"""Walks the bytes of a Prometheus WriteRequest, compiled: its series and samples, and the same as OTLP data points.

Wire format: https://protobuf.dev/programming-guides/encoding. Every read is checked against the end of its message;
whatever is malformed, legal but unusual (a group), or a sample without a usable time is left to the protobuf library.
All of it is one file: a compiled function is cached by its own file's time, not by those of the files it calls into.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

I64 = NDArray[np.int64]

_FIRST, _SAMPLES, _HISTOGRAMS = 0x0A, 0x12, 0x22  # fields of a TimeSeries; 1 are its labels
_VALUE, _TIMESTAMP = 0x09, 0x10  # of a Sample
LATEST_MS = (2**63 - 1) // 10**6  # the last that is a time in nanoseconds
_STALE = 0x7FF0000000000002  # the value that tells that a series has ended
_EXPONENT, _MANTISSA = 0x7FF0000000000000, 0x000FFFFFFFFFFFFF
_NUMBER, _FLAG = 18, 11  # bytes of a data point with a value, and of one that says NO_RECORDED_VALUE
_CUMULATIVE = (0x10, 0x02, 0x18, 0x01)  # temporality and monotonic of a Sum
_BAD = -1

# Columns of a series of the request.
START, STOP, SAMPLES, HISTOGRAMS, COLUMNS = range(5)
# Columns of a series that is known: its group, whether it is a counter, where the name of its Metric and the
# attributes of its data points start and end in the pool.
GROUP, COUNTER, NAME_START, NAME_STOP, ATTRIBUTES_START, ATTRIBUTES_STOP, KNOWN = range(7)


class Found(NamedTuple):
    """k series of a request: keys uint64 [k], hashes of their labels as bytes; rows int64 [k, COLUMNS]."""

    keys: NDArray[np.uint64]
    rows: I64


class Encoded(NamedTuple):
    """Metrics as OTLP's wire has them (field 2 of ScopeMetrics), of one group after the other.

    data: uint8; starts: int64 [g + 1]; groups: int64 [g], those that have samples, as the request first has them.
    """

    data: NDArray[np.uint8]
    starts: I64
    groups: I64
    samples: int


def find_series(body: bytes, seed: int) -> Found | None:
    """The series of a request; None for the protobuf library to judge.

    `seed` (64 bits, secret of the process) makes the hashes unpredictable: nobody can construct a collision.
    """
    keys, rows, count = _request(np.frombuffer(body, np.uint8), np.uint64(seed))
    return Found(keys[:count], rows[:count]) if count >= 0 else None


def look_up(keys: NDArray[np.uint64], table: NDArray[np.uint64], numbers: NDArray[np.int32]) -> I64:
    """The number of each key, int64 [k]; -1 where `enter` never took it. table, numbers: as `enter` fills them."""
    found: I64 = _looked_up(keys, table, numbers)
    return found


def enter(key: int, number: int, table: NDArray[np.uint64], numbers: NDArray[np.int32]) -> None:
    """Put a new key into a table whose size is a power of two, and twice its entries or more; numbers: -1 if free."""
    _entered(np.uint64(key), number, table, numbers)


def encode(
    body: bytes, rows: I64, known: I64, pool: NDArray[np.uint8], groups: int, latest_ms: int = LATEST_MS
) -> Encoded | None:
    """The samples as data points. rows: of `find_series`; known: int64 [k, KNOWN] of the same series, whose bytes are
    in `pool`; groups: how many there are; latest_ms: no sample may be later. None for the protobuf library to judge."""
    data = np.frombuffer(body, np.uint8)
    sizes, total, samples = _sizes(data, rows, known, latest_ms)
    if samples < 0:
        return None
    out, starts, order = _written(data, rows, known, pool, sizes, groups, total)
    return Encoded(out, starts, order, int(samples))


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
def _request(data: Any, seed: Any) -> tuple[Any, Any, int]:
    keys, rows, count = np.empty(256, np.uint64), np.zeros((256, COLUMNS), np.int64), 0
    at, end = 0, len(data)
    while at < end:
        tag, start, at = _field(data, at, end)
        if at < 0:
            return keys, rows, _BAD
        if tag != _FIRST:
            continue
        if count == len(keys):
            keys = np.concatenate((keys, np.empty_like(keys)))
            rows = np.concatenate((rows, np.zeros_like(rows)))
        keys[count], good = _series(data, start, at, seed, rows[count])
        if not good:
            return keys, rows, _BAD
        count += 1
    return keys, rows, count


@njit(cache=True)
def _series(data: Any, at: int, end: int, h: Any, row: Any) -> tuple[Any, bool]:
    row[START], row[STOP] = at, end
    while at < end:
        tag, start, at = _field(data, at, end)
        if at < 0:
            return h, False
        if tag == _FIRST:
            h = _hashed(h, data, start, at)
        elif tag == _SAMPLES:
            row[SAMPLES] += 1
        elif tag == _HISTOGRAMS:
            row[HISTOGRAMS] += 1
    return h, True


@njit(cache=True)
def _looked_up(keys: Any, table: Any, numbers: Any) -> Any:
    found, mask = np.empty(len(keys), np.int64), np.uint64(len(table) - 1)
    for k in range(len(keys)):
        slot = keys[k] & mask
        while numbers[slot] >= 0 and table[slot] != keys[k]:
            slot = (slot + np.uint64(1)) & mask
        found[k] = numbers[slot]
    return found


@njit(cache=True)
def _entered(key: Any, number: int, table: Any, numbers: Any) -> None:
    mask = np.uint64(len(table) - 1)
    slot = key & mask
    while numbers[slot] >= 0:
        slot = (slot + np.uint64(1)) & mask
    table[slot], numbers[slot] = key, number


@njit(cache=True)
def _sample(data: Any, at: int, end: int) -> tuple[Any, Any, Any]:
    """Milliseconds, bits of the value, and whether both can be read and the time is after 1970."""
    milliseconds, bits = np.int64(0), np.uint64(0)
    while at < end:
        tag, start, at = _field(data, at, end)
        if at < 0:
            return milliseconds, bits, False
        if tag == _VALUE:
            bits = _word(data, start)
        elif tag == _TIMESTAMP:
            milliseconds = _varint(data, start, end)[0]
    return milliseconds, bits, milliseconds > 0


@njit(cache=True)
def _point_size(bits: Any) -> int:
    """Bytes of a data point without its attributes; 0 for NaN other than the staleness marker: it is left out."""
    if bits == np.uint64(_STALE):
        return _FLAG
    nan = bits & np.uint64(_EXPONENT) == np.uint64(_EXPONENT) and bits & np.uint64(_MANTISSA) != np.uint64(0)
    return 0 if nan else _NUMBER


@njit(cache=True)
def _with_header(length: int) -> int:
    """Bytes of a length-delimited field whose content has `length` bytes, and whose tag has one."""
    size = length + 2
    while length > 0x7F:
        length >>= 7
        size += 1
    return size


@njit(cache=True)
def _sizes(data: Any, rows: Any, known: Any, latest: int) -> tuple[Any, int, int]:
    """Bytes [k, 3] of a series' data points, of its gauge or sum, and of its metric; of all; samples (_BAD: judge)."""
    sizes, total, samples = np.zeros((len(rows), 3), np.int64), 0, 0
    for k in range(len(rows)):
        attributes = known[k, ATTRIBUTES_STOP] - known[k, ATTRIBUTES_START]
        at, end = rows[k, START], rows[k, STOP]
        points = 0
        while rows[k, SAMPLES] and at < end:
            tag, start, at = _field(data, at, end)
            if tag != _SAMPLES:
                continue
            milliseconds, bits, good = _sample(data, start, at)
            if not good or milliseconds > latest:
                return sizes, 0, _BAD
            size = _point_size(bits)
            if size:
                points += _with_header(size + attributes)
                samples += 1
        if points:
            sizes[k, 0] = points
            sizes[k, 1] = points + (len(_CUMULATIVE) if known[k, COUNTER] else 0)
            sizes[k, 2] = known[k, NAME_STOP] - known[k, NAME_START] + _with_header(sizes[k, 1])
            total += _with_header(sizes[k, 2])
    return sizes, total, samples


@njit(cache=True)
def _written(data: Any, rows: Any, known: Any, pool: Any, sizes: Any, groups: int, total: int) -> tuple[Any, Any, Any]:
    out, place = np.empty(total, np.uint8), np.zeros(groups, np.int64)
    order, count = np.empty(groups, np.int64), 0
    for k in range(len(rows)):
        if sizes[k, 0]:
            group = known[k, GROUP]
            if place[group] == 0:
                order[count] = group
                count += 1
            place[group] += _with_header(sizes[k, 2])
    starts = np.zeros(count + 1, np.int64)
    for i in range(count):
        starts[i + 1] = starts[i] + place[order[i]]
        place[order[i]] = starts[i]
    for k in range(len(rows)):
        if sizes[k, 0]:
            group = known[k, GROUP]
            place[group] = _write_metric(data, rows[k], known[k], pool, sizes[k], out, place[group])
    return out, starts, order[:count]


@njit(cache=True)
def _write_metric(data: Any, row: Any, one: Any, pool: Any, sizes: Any, out: Any, to: int) -> int:
    """Field 2 of ScopeMetrics: a gauge, or a cumulative monotonic sum; where it ends."""
    to = _write_header(out, to, 0x12, sizes[2])
    to = _write_bytes(out, to, pool, one[NAME_START], one[NAME_STOP])
    to = _write_header(out, to, 0x3A if one[COUNTER] else 0x2A, sizes[1])
    at, end = row[START], row[STOP]
    while at < end:
        tag, start, at = _field(data, at, end)
        if tag == _SAMPLES:
            milliseconds, bits, _ = _sample(data, start, at)
            to = _write_point(out, to, milliseconds * 1_000_000, bits, pool, one)
    if one[COUNTER]:
        for byte in _CUMULATIVE:
            out[to] = byte
            to += 1
    return to


@njit(cache=True)
def _write_point(out: Any, to: int, nanoseconds: Any, bits: Any, pool: Any, one: Any) -> int:
    size = _point_size(bits)
    if size == 0:
        return to
    to = _write_header(out, to, 0x0A, size + one[ATTRIBUTES_STOP] - one[ATTRIBUTES_START])
    out[to] = 0x19  # time_unix_nano
    _write_word(out, to + 1, np.uint64(nanoseconds))
    if size == _NUMBER:
        out[to + 9] = 0x21  # as_double
        _write_word(out, to + 10, bits)
    else:
        out[to + 9], out[to + 10] = 0x40, 1  # flags: NO_RECORDED_VALUE
    return _write_bytes(out, to + size, pool, one[ATTRIBUTES_START], one[ATTRIBUTES_STOP])


@njit(cache=True)
def _write_header(out: Any, to: int, tag: int, length: int) -> int:
    out[to] = tag
    to += 1
    while length > 0x7F:
        out[to] = length & 0x7F | 0x80
        length >>= 7
        to += 1
    out[to] = length
    return to + 1


@njit(cache=True)
def _write_word(out: Any, to: int, word: Any) -> None:
    first = np.uint64(to)
    for i in range(8):
        out[first + np.uint64(i)] = np.uint8(word >> np.uint64(8 * i) & np.uint64(0xFF))


@njit(cache=True)
def _write_bytes(out: Any, to: int, pool: Any, start: int, stop: int) -> int:
    first, origin = np.uint64(to), np.uint64(start)
    for i in range(np.uint64(stop - start)):
        out[first + i] = pool[origin + i]
    return to + stop - start
