"""The Parquet files of a recording: samples and spans."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forewarn.telemetry.recording import Spans, utc
from forewarn.telemetry.recording_columns import (
    coded_column,
    float_column,
    hex_column,
    read_columns,
    text_column,
    time_column,
)
from forewarn.telemetry.recording_errors import RecordingError
from forewarn.telemetry.samples import Kind, SampleBatch, Series

_TIME = pa.timestamp("us", tz="UTC")
_SERIES_COLUMNS = ("entity", "signal", "unit", "attributes", "kind")
_SPAN_KINDS = ("", "internal", "server", "client", "producer", "consumer")
_ROWS = 1 << 20  # of a row group
# Without a column `kind`: names that the conventions and common exporters give to growing counters.
_COUNTERS = re.compile(
    r"(_total|\.(errors|retries|rejected|timeouts|commits|rollbacks|hits|misses|evicted|expired|processed)"
    r"|\.request\.count|\.consumed\.messages|\.sent\.messages)$"
)


def kind_of(signal: str, unit: str) -> Kind:
    """How a signal is read where the recording does not say it: by its name; a rate ('…/s') is a gauge."""
    return Kind.CUMULATIVE if _COUNTERS.search(signal) and not unit.endswith("/s") else Kind.GAUGE


def read_metrics(path: Path) -> tuple[SampleBatch, list[str]]:
    """Samples sorted by time, and notes on what was mended. Raises RecordingError."""
    table = read_columns(path, ("timestamp", "entity", "signal", "value"), ("unit", "attributes", "kind"))
    if not table.num_rows:
        raise RecordingError(f"{path} is empty: there is nothing to replay")
    times = time_column(path, table)
    values = _values(path, table)
    index, series = _series(path, table)
    times, (index, values), notes = _sorted(path.name, times, [index, values])
    keep, repeated = _last_of_each(times, index, series)
    notes += repeated
    if keep is not None:
        times, index, values = times[keep], index[keep], values[keep]
    return SampleBatch(series, index, times, values), notes


def write_metrics(path: Path, batch: SampleBatch) -> None:
    """Write samples as telemetry.parquet."""

    def column(texts: list[str]) -> Any:
        return pa.DictionaryArray.from_arrays(pa.array(batch.index, pa.int32()), pa.array(texts, pa.string()))

    columns = {
        "timestamp": pa.array(batch.times // 1000).cast(_TIME),
        "entity": column([s.entity for s in batch.series]),
        "signal": column([s.signal for s in batch.series]),
        "value": pa.array(batch.values),
        "unit": column([s.unit for s in batch.series]),
        "attributes": column([attributes_text(s) for s in batch.series]),
        "kind": column([s.kind.name.lower() for s in batch.series]),
    }
    plain = {k: v.cast(pa.string()) if pa.types.is_dictionary(v.type) else v for k, v in columns.items()}
    pq.write_table(pa.table(plain), path, compression="zstd", row_group_size=_ROWS)


def read_spans(path: Path) -> tuple[Spans, list[str]]:
    """Spans sorted by start, and notes on what was mended. Raises RecordingError."""
    needed = ("timestamp", "entity", "trace_id", "span_id", "parent_span_id", "operation", "duration_seconds")
    table = read_columns(path, needed, ("kind", "error"))
    times = time_column(path, table)
    durations = float_column(path, table, "duration_seconds")
    if len(durations) and not (durations >= 0).all():
        row = int(np.argmin(durations >= 0))
        raise RecordingError(f"{path}, row {row}: duration_seconds is {durations[row]}, it must be 0 or more")
    index, entities = coded_column(path, table, "entity")
    columns: list[NDArray[Any]] = [
        index.astype(np.int32),
        durations,
        hex_column(path, table, "trace_id", 32),
        hex_column(path, table, "span_id", 16),
        hex_column(path, table, "parent_span_id", 16, empty=True),
        text_column(path, table, "operation").to_numpy(),
        _kinds(path, table),
        _errors(table),
    ]
    times, columns, notes = _sorted(path.name, times, columns)
    return Spans(tuple(entities), columns[0], times, *columns[1:]), notes


def write_spans(path: Path, spans: Spans) -> None:
    """Write spans as spans.parquet."""
    entities = pa.DictionaryArray.from_arrays(pa.array(spans.index, pa.int32()), pa.array(spans.entities, pa.string()))
    table = pa.table(
        {
            "timestamp": pa.array(spans.starts // 1000).cast(_TIME),
            "entity": entities.cast(pa.string()),
            "trace_id": pa.array(spans.trace_ids.astype(str), pa.string()),
            "span_id": pa.array(spans.span_ids.astype(str), pa.string()),
            "parent_span_id": pa.array(spans.parent_span_ids.astype(str), pa.string()),
            "operation": pa.array(spans.operations, pa.string()),
            "kind": pa.array(spans.kinds, pa.string()),
            "duration_seconds": pa.array(spans.durations),
            "error": pa.array(spans.errors),
        }
    )
    pq.write_table(table, path, compression="zstd", row_group_size=_ROWS)


def _values(path: Path, table: Any) -> NDArray[np.float64]:
    values = float_column(path, table, "value")
    good = np.isfinite(values)
    if not good.all():
        row = int(np.argmin(good))
        where = f"{table['entity'][row]} {table['signal'][row]}"
        raise RecordingError(
            f"{path}, row {row} ({where}): value is {values[row]} ({int((~good).sum())} such rows); "
            "leave rows out where nothing was measured"
        )
    return values


def _series(path: Path, table: Any) -> tuple[NDArray[np.int32], tuple[Series, ...]]:
    """Which series each row belongs to, and the series in the order of their first row."""
    combined = np.zeros(table.num_rows, np.int64)
    dictionaries: dict[str, list[str]] = {}
    for name in (c for c in _SERIES_COLUMNS if c in table.column_names):
        codes, dictionaries[name] = coded_column(path, table, name, nulls=name not in ("entity", "signal"))
        combined = combined * len(dictionaries[name]) + codes
    codes, first, inverse = np.unique(combined, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(codes), np.int32)
    rank[order] = np.arange(len(codes), dtype=np.int32)
    series = tuple(_one_series(path, _texts_of(int(codes[i]), dictionaries)) for i in order)
    return rank[inverse], series


def _texts_of(code: int, dictionaries: dict[str, list[str]]) -> dict[str, str]:
    texts = {}
    for name, values in reversed(dictionaries.items()):
        code, position = divmod(code, len(values))
        texts[name] = values[position]
    return texts


def _one_series(path: Path, texts: dict[str, str]) -> Series:
    entity, signal, unit = texts["entity"], texts["signal"], texts.get("unit", "")
    if not entity or not signal:
        raise RecordingError(f"{path}: a row has an empty {'signal' if entity else 'entity'}")
    return Series(
        entity, signal, attributes_of(path, texts.get("attributes", "")), _kind(path, texts, signal, unit), unit
    )


def attributes_text(series: Series) -> str:
    """Attributes as a JSON object, '' without any."""
    return json.dumps(dict(series.attributes), ensure_ascii=False) if series.attributes else ""


def attributes_of(path: Path, text: str) -> tuple[tuple[str, str], ...]:
    """Attributes written as a JSON object of texts, sorted by name. Raises RecordingError."""
    if not text:
        return ()
    try:
        attributes = json.loads(text)
        return tuple(sorted((str(k), str(v)) for k, v in attributes.items()))
    except (ValueError, AttributeError) as error:
        raise RecordingError(
            f'{path}: attributes {text!r} are not a JSON object such as {{"direction": "read"}}'
        ) from error


def _kind(path: Path, texts: dict[str, str], signal: str, unit: str) -> Kind:
    text = texts.get("kind", "")
    if not text:
        return kind_of(signal, unit)
    if text.upper() not in Kind.__members__:
        raise RecordingError(f"{path}: kind of {signal} is {text!r}; it must be gauge, cumulative or delta")
    return Kind[text.upper()]


def _kinds(path: Path, table: Any) -> NDArray[np.object_]:
    if "kind" not in table.column_names:
        return np.full(table.num_rows, "", object)
    column = pc.fill_null(text_column(path, table, "kind", nulls=True), "")
    strange = set(pc.unique(column).to_pylist()) - set(_SPAN_KINDS)
    if strange:
        raise RecordingError(f"{path}: kind {sorted(strange)[0]!r} is none of {', '.join(_SPAN_KINDS[1:])}")
    return column.to_numpy()


def _errors(table: Any) -> NDArray[np.bool_]:
    if "error" not in table.column_names:
        return np.zeros(table.num_rows, bool)
    return pc.fill_null(table["error"].cast(pa.bool_()), False).to_numpy()


def _sorted(
    name: str, times: NDArray[np.int64], columns: list[NDArray[Any]]
) -> tuple[NDArray[np.int64], list[NDArray[Any]], list[str]]:
    """Everything in the order of time; rows of one time keep their order."""
    back = np.flatnonzero(np.diff(times) < 0)
    if not len(back):
        return times, columns, []
    order = np.argsort(times, kind="stable")
    note = f"{name}: not in the order of time (first at row {back[0] + 1}, {utc(times[back[0] + 1])}); sorted"
    return times[order], [column[order] for column in columns], [note]


def _last_of_each(
    times: NDArray[np.int64], index: NDArray[np.int32], series: tuple[Series, ...]
) -> tuple[NDArray[np.bool_] | None, list[str]]:
    """A mask that keeps the last sample of each series and time, None where nothing comes twice."""
    order = np.lexsort((index, times))  # stable: of equals the last row stays last
    same = (np.diff(times[order]) == 0) & (np.diff(index[order]) == 0)
    if not same.any():
        return None, []
    dropped = order[:-1][same]
    keep = np.ones(len(times), bool)
    keep[dropped] = False
    first = int(dropped.min())
    where = f"{series[index[first]].id} at {utc(times[first])}"
    return keep, [f"telemetry.parquet: {len(dropped)} samples come twice (first: {where}); the last one counts"]
