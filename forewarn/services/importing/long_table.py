"""Reads CSV and Parquet in the long format (docs/data-formats.md): one row a sample; counts and names bad rows."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forewarn.telemetry.samples import Kind, SampleBatch, Series

NEEDED = ("time", "entity", "signal", "value")
OPTIONAL = ("attributes", "unit", "kind")
_ROWS = 200_000
_NAMED = 20  # bad rows that are told one by one
_ZONED = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|z|[+-]\d\d(:?\d\d)?)$"
_KINDS = {"": Kind.GAUGE, "gauge": Kind.GAUGE, "cumulative": Kind.CUMULATIVE, "delta": Kind.DELTA}
_EARLIEST_S, _LATEST_S = 0, 2**33  # 1970 to 2242


class LongFormatError(Exception):
    """A file is not in the long format; the message names file, line and what to do."""


@dataclass(slots=True)
class Tally:
    """What was found in a file. first_bad: line (CSV; the header is line 1) or row (Parquet; from 1) and reason."""

    rows: int = 0
    bad: int = 0
    first_bad: list[tuple[int, str]] = field(default_factory=list)

    def note(self, lines: NDArray[np.int64], reason: str) -> None:
        """Count bad rows."""
        self.bad += len(lines)
        self.first_bad += [(int(line), reason) for line in lines[: max(0, _NAMED - len(self.first_bad))]]


class LongReader:
    """Reads files batch by batch; remembers the series over all of them.

    namespace: put before entities without one.
    """

    def __init__(self, namespace: str | None = None) -> None:
        self._namespace = namespace
        self._numbers: dict[tuple[str, ...], int] = {}
        self._list: list[Series] = []
        self._tuple: tuple[Series, ...] = ()

    def read(self, path: Path, tally: Tally) -> Iterator[SampleBatch]:
        """Batches of a .csv or .parquet file. Raises LongFormatError."""
        tables = _parquet(path) if path.suffix == ".parquet" else _csv(path, tally)
        for lines, table in tables:
            tally.rows += len(lines)
            yield self._batch(lines, table, tally)

    def _batch(self, lines: NDArray[np.int64], table: pa.Table, tally: Tally) -> SampleBatch:
        times, good_time = _times(table["time"])
        values, good_value = _values(table["value"])
        number, reasons = self._series(table)
        tally.note(lines[~good_time], "time is no time with a time zone, nor seconds since 1970")
        tally.note(lines[good_time & ~good_value], "value is no number")
        for code, reason in reasons.items():
            tally.note(lines[good_time & good_value & (number == code)], reason)
        keep = good_time & good_value & (number >= 0)
        return SampleBatch(self._tuple, number[keep].astype(np.int32), times[keep], values[keep])

    def _series(self, table: pa.Table) -> tuple[NDArray[np.int64], dict[int, str]]:
        """Number of the series of each row; below 0 the reason why it has none."""
        names = ["entity", "signal", *(name for name in OPTIONAL if name in table.column_names)]
        keys = table.select(names)
        keys = pa.table({name: pc.fill_null(keys[name].cast(pa.string()), "") for name in names})
        distinct = keys.group_by(names).aggregate([])
        codes: list[int] = []
        reasons: dict[int, str] = {}
        for row in distinct.to_pylist():
            code = self._number(row)
            if isinstance(code, str):
                reasons[-1 - len(reasons)] = code
                code = -len(reasons)
            codes.append(code)
        if len(self._tuple) != len(self._list):
            self._tuple = tuple(self._list)
        at = keys.append_column("row", pa.array(np.arange(keys.num_rows)))
        joined = at.join(distinct.append_column("code", pa.array(codes, pa.int64())), names)
        number = np.empty(keys.num_rows, np.int64)
        number[joined["row"].to_numpy()] = joined["code"].to_numpy()
        return number, reasons

    def _number(self, row: dict[str, str]) -> int | str:
        key = tuple(row.get(name, "") for name in ("entity", "signal", *OPTIONAL))
        if key not in self._numbers:
            series = self._read(*key)
            if isinstance(series, str):
                return series
            self._numbers[key] = len(self._list)
            self._list.append(series)
        return self._numbers[key]

    def _read(self, entity: str, signal: str, attributes: str, unit: str, kind: str) -> Series | str:
        if not entity or not signal:
            return f"{'signal' if entity else 'entity'} is empty"
        if kind.lower() not in _KINDS:
            return f"kind is {kind!r}; it must be gauge, cumulative or delta"
        try:
            pairs = json.loads(attributes) if attributes else {}
        except ValueError:
            pairs = None
        if not isinstance(pairs, dict):
            return "attributes is no JSON object"
        texts = tuple(sorted((k, v if isinstance(v, str) else json.dumps(v)) for k, v in pairs.items()))
        placed = f"{self._namespace}/{entity}" if self._namespace and "/" not in entity else entity
        return Series(placed, signal, texts, _KINDS[kind.lower()], unit)


def check_columns(path: Path, names: list[str]) -> None:
    """Raises LongFormatError where a column is missing, twice, or unknown."""
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise LongFormatError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(names) or 'none'}. The long format needs "
            f"{', '.join(NEEDED)} and may have {', '.join(OPTIONAL)}: see docs/data-formats.md"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise LongFormatError(f"{path} has the column {', '.join(twice)} more than once")


def _csv(path: Path, tally: Tally) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            check_columns(path, header)
            yield from _csv_batches(rows, header, tally)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LongFormatError(f"{path} cannot be read as CSV in UTF-8: {error}") from error


def _csv_batches(
    rows: Iterator[list[str]], header: list[str], tally: Tally
) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
    lines: list[int] = []
    kept: list[list[str]] = []
    for row in rows:
        line: int = rows.line_num  # type: ignore[attr-defined]
        if len(row) == len(header):
            lines.append(line)
            kept.append(row)
        elif row:
            tally.rows += 1
            tally.note(np.array([line]), f"{len(row)} cells; the header has {len(header)}")
        if len(kept) >= _ROWS:
            yield _table(lines, kept, header)
            lines, kept = [], []
    if kept:
        yield _table(lines, kept, header)


def _table(lines: list[int], rows: list[list[str]], header: list[str]) -> tuple[NDArray[np.int64], pa.Table]:
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    wanted = {name: columns[name] for name in (*NEEDED, *OPTIONAL) if name in columns}
    return np.array(lines, np.int64), pa.table({name: pa.array(texts, pa.string()) for name, texts in wanted.items()})


def _parquet(path: Path) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            check_columns(path, names)
            time = file.schema_arrow.field("time").type
            if pa.types.is_timestamp(time) and time.tz is None:
                raise LongFormatError(
                    f"{path}: column time has no time zone, so its instants are unknown; localise it "
                    "(pandas: df.time.dt.tz_localize('UTC')) and write it again"
                )
            first = 1
            for batch in file.iter_batches(_ROWS, columns=[n for n in (*NEEDED, *OPTIONAL) if n in names]):
                yield np.arange(first, first + batch.num_rows), pa.Table.from_batches([batch])
                first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise LongFormatError(f"{path} cannot be read as Parquet: {error}") from error


def _times(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Nanoseconds since 1970, and which rows have a time."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        times = column.cast(pa.timestamp("us", tz="UTC"), safe=False).cast(pa.int64())
        seconds = pc.divide(times, 1_000_000)
        return _checked(pc.fill_null(times, -1).to_numpy() * 1000, pc.fill_null(seconds, -1).to_numpy())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        return _text_times(column.cast(pa.string()))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _seconds(column.cast(pa.float64()).to_numpy())
    return np.zeros(len(column), np.int64), np.zeros(len(column), bool)


def _text_times(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    import pandas as pd

    text = pc.fill_null(column, "")
    zoned = pc.match_substring_regex(text, _ZONED).to_numpy()
    numbers, _ = _values(column)
    times, good = _seconds(np.where(zoned, np.nan, numbers))
    if zoned.any():
        parsed = pd.to_datetime(
            pd.Series(text.filter(pa.array(zoned)).to_numpy()), utc=True, format="ISO8601", errors="coerce"
        )
        known = parsed.notna().to_numpy()
        nanoseconds = np.where(known, parsed.to_numpy().astype("datetime64[ns]").astype(np.int64), -1)
        times[zoned], good[zoned] = _checked(nanoseconds, nanoseconds // 10**9)
    return times, good


def _seconds(seconds: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    good = np.isfinite(seconds) & (seconds > _EARLIEST_S) & (seconds < _LATEST_S)
    return np.round(np.where(good, seconds, 0) * 1e6).astype(np.int64) * 1000, good


def _checked(nanoseconds: NDArray[np.int64], seconds: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    return nanoseconds, (seconds >= _EARLIEST_S) & (seconds < _LATEST_S)


def _values(column: pa.ChunkedArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers, and which rows have a finite one."""
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        values = np.array(column.cast(pa.float64()).to_numpy(), np.float64)
    else:
        import pandas as pd

        texts = pd.Series(column.cast(pa.string()).to_numpy(), dtype=object)
        values = np.array(pd.to_numeric(texts, errors="coerce"), np.float64)
    return values, np.isfinite(values)
