"""Columns of a recording's Parquet files as checked arrays; every error names file, row and what to do."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forewarn.telemetry.recording_errors import RecordingError


def read_columns(path: Path, needed: tuple[str, ...], optional: tuple[str, ...]) -> Any:
    """An Arrow table with the columns; texts are dictionary encoded. Raises RecordingError."""
    try:
        schema = pq.read_schema(path)
        missing = [name for name in needed if name not in schema.names]
        if missing:
            raise RecordingError(
                f"{path} has no column {', '.join(missing)}; it has {', '.join(schema.names)}. "
                "docs/data-formats.md describes the columns"
            )
        columns = [*needed, *(name for name in optional if name in schema.names)]
        texts = [c for c in columns if _is_text(schema.field(c).type)]
        return pq.read_table(path, columns=columns, read_dictionary=texts)
    except (pa.ArrowException, OSError) as error:
        raise RecordingError(f"{path} cannot be read as Parquet: {error}") from error


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _plain(kind: Any) -> Any:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def time_column(path: Path, table: Any) -> NDArray[np.int64]:
    """Column timestamp as nanoseconds since 1970 UTC. Raises RecordingError."""
    column = table["timestamp"]
    if not pa.types.is_timestamp(column.type):
        raise RecordingError(f"{path}: timestamp has type {_plain(column.type)}; it must be a timestamp with tz=UTC")
    if column.type.tz is None:
        raise RecordingError(
            f"{path}: column timestamp has no time zone, so its instants are unknown; "
            "localise it (pandas: df.timestamp.dt.tz_localize('UTC')) and write it again"
        )
    _no_nulls(path, "timestamp", column)
    try:
        return np.asarray(column.cast(pa.timestamp("ns", tz="UTC")).cast(pa.int64()).to_numpy(), np.int64)
    except pa.ArrowInvalid as error:
        raise RecordingError(f"{path}: column timestamp has a time outside 1678 to 2262: {error}") from error


def float_column(path: Path, table: Any, name: str) -> NDArray[np.float64]:
    """Numbers, NaN where one is missing. Raises RecordingError."""
    column = table[name]
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise RecordingError(f"{path}: column {name} has type {_plain(column.type)}; it must be a number")
    return np.array(column.cast(pa.float64()).to_numpy(), np.float64)  # nulls become NaN


def text_column(path: Path, table: Any, name: str, nulls: bool = False) -> Any:
    """A chunked Arrow array of texts. Raises RecordingError."""
    column = table[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not _is_text(column.type):
        raise RecordingError(f"{path}: column {name} has type {column.type}; it must be text")
    if not nulls:
        _no_nulls(path, name, column)
    return column


def _no_nulls(path: Path, name: str, column: Any) -> None:
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise RecordingError(f"{path}, row {row}: {name} is missing ({column.null_count} such rows)")


def coded_column(path: Path, table: Any, name: str, nulls: bool = False) -> tuple[NDArray[np.int64], list[str]]:
    """Texts as numbers of the distinct ones, so that a column of millions stays small. Raises RecordingError."""
    column = table[name]
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(text_column(path, table, name, nulls=True))
    if not nulls:
        _no_nulls(path, name, column)
    encoded = column.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # no rows
        return np.empty(0, np.int64), []
    texts = encoded.dictionary.to_pylist() + [""] * (encoded.null_count > 0)
    return encoded.indices.fill_null(len(texts) - 1).to_numpy().astype(np.int64), texts


def hex_column(path: Path, table: Any, name: str, length: int, empty: bool = False) -> NDArray[np.bytes_]:
    """Hexadecimal ids as ASCII bytes; `empty` allows none. Raises RecordingError."""
    column = pc.fill_null(text_column(path, table, name, nulls=empty), "")
    pattern = rf"^[0-9a-f]{{{length}}}$" + ("|^$" if empty else "")
    good = pc.match_substring_regex(column, pattern)
    if not pc.all(good).as_py() and len(column):
        row = pc.index(good, False).as_py()
        raise RecordingError(f"{path}, row {row}: {name} is {column[row]}; it must be {length} hexadecimal digits")
    return column.to_numpy().astype(f"S{length}")
