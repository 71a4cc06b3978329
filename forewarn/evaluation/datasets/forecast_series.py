"""Series for the evaluation of forecasts, read from data sets and put into even cells."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import structlog
from numpy.typing import NDArray

from forewarn.evaluation.datasets.report import DatasetError

Floats = NDArray[np.float64]
_TIMES = ("currentTime", "timestamp", "time", "datetime", "date", "ds")
_MINUTES = ("minute", "minutes")
_JUMPSTARTER_ROW_SECONDS = 300
_SERIES = 30  # about so many of all services and metrics: AutoARIMA takes seconds for each
_MOST_SERIES = 60
_GAP_SECONDS = 7 * 86_400.0  # a longer gap is not interpolated: the piece with the most rows is taken
_COARSER = 1.5  # rows that lie so many cells apart make cells of their own width
_EPOCHS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (np.inf, 1e9))  # times as numbers: seconds, or finer where larger

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class SignalSeries:
    """values [T] in cells of step_seconds, NaN where nothing was measured; `signal` names what is measured."""

    name: str
    signal: str
    values: Floats
    step_seconds: float


def read_jumpstarter(folder: Path, step_seconds: float) -> list[SignalSeries]:
    """Of thirty services one metric each, the next one from service to service, so that all metrics take part.

    `NAME.parquet` in any depth of folders, rows of 5 minutes.
    """
    paths = sorted(folder.rglob("*.parquet"))
    if not paths:
        raise DatasetError(f"{folder} holds no NAME.parquet: the folders Dataset2 and Dataset3 are expected")
    series = []
    rows = round(step_seconds / _JUMPSTARTER_ROW_SECONDS)
    for service, path in enumerate(paths):
        columns = pd.read_parquet(path).select_dtypes("number")
        table = columns.drop(columns=["label", "split", *_TIMES, *_MINUTES], errors="ignore")
        stride = max(1, min(len(paths) * table.shape[1] // _SERIES, table.shape[1]))
        for metric, column in enumerate(table.columns):
            if (service + metric) % stride == 0:
                name = str(path.relative_to(folder).with_suffix(""))
                cells = averaged(table[column].to_numpy(np.float64), rows)
                series.append(SignalSeries(f"{name} {column}", str(column), cells, step_seconds))
    return series[:: -(-len(series) // _MOST_SERIES) or 1]


def read_tables(folder: Path, step_seconds: float) -> list[SignalSeries]:
    """Every numeric column of every `.csv`, `.csv.gz` or `.parquet` that has a column of times or of minutes.

    Cells are as wide as the rows lie apart where that is far more than `step_seconds`. A file that cannot be read is
    left out with a warning; DatasetError where none can.
    """
    paths = sorted(p for p in folder.rglob("*") if p.name.endswith((".csv", ".csv.gz", ".parquet")))
    series: list[SignalSeries] = []
    refused = DatasetError(f"{folder} holds no *.csv, *.csv.gz or *.parquet")
    for path in paths:
        try:
            series += _columns(path, step_seconds)
        except DatasetError as error:
            refused = error
            logger.warning("file left out", reason=str(error))
    if not series:
        raise refused
    return series


def _columns(path: Path, step_seconds: float) -> Iterator[SignalSeries]:
    table, seconds = _timed(path, _table(path))
    apart = float(np.median(np.diff(np.unique(seconds)))) if np.ptp(seconds) > 0 else 0.0
    step = apart if apart > _COARSER * step_seconds else step_seconds
    cell = (seconds // step).astype(np.int64)
    grouped = table.groupby(cell - cell.min()).mean()
    even = grouped.reindex(range(int(grouped.index.max()) + 1))
    for column in even.columns:
        name = path.name.removesuffix(".gz").removesuffix(".csv").removesuffix(".parquet")
        yield SignalSeries(f"{name} {column}", str(column), even[column].to_numpy(np.float64), step)


def _table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (ValueError, OSError, EOFError) as error:  # pandas' and Arrow's own are among them
        raise DatasetError(f"{path} cannot be read as a table: {error}") from error
    return table.reset_index(names="time") if isinstance(table.index, pd.DatetimeIndex) else table


def _timed(path: Path, table: pd.DataFrame) -> tuple[pd.DataFrame, Floats]:
    """Numeric columns and the time [rows] of the rows that have one, in time order and without a long gap."""
    names = {column: str(column).strip().lower() for column in table.columns}
    times = {name.lower() for name in _TIMES}
    found = next((column for column, name in names.items() if name in times or name in _MINUTES), None)
    if found is None:
        raise DatasetError(f"{path} has no column of times: one of {', '.join((*_TIMES, *_MINUTES))} is expected")
    seconds = _seconds(table[found], minutes=names[found] in _MINUTES)
    others = table.drop(columns=[column for column, name in names.items() if name in times or name in _MINUTES])
    numbers = others.select_dtypes("number").astype(np.float64).replace([np.inf, -np.inf], np.nan)
    if not numbers.shape[1]:
        raise DatasetError(f"{path} has no column of numbers beside its times")
    order = np.argsort(seconds, kind="stable")[: int(np.isfinite(seconds).sum())]
    if not len(order):
        raise DatasetError(f"{path} has no row with a time in its column {found!r}")
    pieces = np.split(order, np.flatnonzero(np.diff(seconds[order]) > _GAP_SECONDS) + 1)
    longest = max(pieces, key=len)
    return numbers.iloc[longest], seconds[longest]


def _seconds(column: "pd.Series[Any]", minutes: bool) -> Floats:
    """[rows] time of each row, NaN where it cannot be read."""
    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(np.float64, na_value=np.nan)
        known = np.abs(values[np.isfinite(values)])
        size = float(np.median(known)) if len(known) else 0.0
        scale = next(scale for below, scale in _EPOCHS if size < below)
        return np.asarray(np.where(np.isfinite(values), values * 60.0 if minutes else values / scale, np.nan))
    times = pd.to_datetime(column, utc=True, format="ISO8601", errors="coerce")
    if times.isna().mean() > 0.5:
        times = pd.to_datetime(column, utc=True, format="mixed", errors="coerce")
    stamps = times.astype("datetime64[ns, UTC]").astype("int64").to_numpy()
    return np.asarray(np.where(times.isna(), np.nan, stamps / 1e9))


def averaged(values: Floats, rows: int) -> Floats:
    """[n // rows] means; rows at the end that fill no cell are left out."""
    whole = len(values) // rows * rows
    blocks = values[:whole].reshape(-1, rows)
    known = np.isfinite(blocks)
    total = np.where(known, blocks, 0.0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)
