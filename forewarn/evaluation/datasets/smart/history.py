"""Disks' SMART attributes as read: one row a stretch without change, one failure or censoring a disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forewarn.evaluation.datasets.report import DatasetError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
F32 = NDArray[np.float32]

ATTRIBUTES = (5, 10, 12, 187, 188, 189, 196, 197, 198)
FIVE = (5, 187, 188, 197, 198)  # those above 0 only on damage
_KEYS = ("serial_number", "model", "manufacturer", "size_tb", "tstart", "date_start", "date_stop", "fails")
_KEY_SPAN = 1 << 20  # days; far beyond any date


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """`R` rows of `D` disks, sorted by disk and time. Days are counted from 1970-01-01.

    disk, day: [R], which disk, and the first midnight at which the row's values are known.
    age: [R], power-on days at `day`. values: float32 [R, 9] by ATTRIBUTES; NaN where a disk does not report one.
    first: [D + 1], where each disk's rows begin. end: [D], the midnight after its last day. failed: [D].
    model, maker: [D] codes into `models`, `makers`. size_tb: [D].
    """

    disk: Ints
    day: Ints
    age: Floats
    values: NDArray[np.float32]
    first: Ints
    end: Ints
    failed: NDArray[np.bool_]
    model: Ints
    maker: Ints
    size_tb: Floats
    models: tuple[str, ...]
    makers: tuple[str, ...]

    @property
    def begin(self) -> Ints:
        """[D]: the first midnight at which a disk is known."""
        return self.day[self.first[:-1]]

    def row_at(self, disk: Ints, day: Ints) -> Ints:
        """[n]: the row in force for `disk` at the midnight `day`; -1 where the disk is not known yet."""
        row = np.searchsorted(self.disk * _KEY_SPAN + self.day, disk * _KEY_SPAN + day, side="right") - 1
        return np.where(row >= self.first[disk], row, -1)

    def running(self, day: int) -> Ints:
        """Disks known at the midnight `day` that have neither failed nor been taken out."""
        return np.flatnonzero((self.begin <= day) & (self.end > day))


def read(data: Path) -> History:
    """Every .parquet and .csv(.gz) file of `data`; a disk may go on from one file to another. Raises DatasetError."""
    paths = sorted(p for p in data.rglob("*") if p.name.endswith((".parquet", ".csv", ".csv.gz")))
    if not paths:
        raise DatasetError(f"{data} holds no .parquet or .csv file of disks in start/stop form")
    return history(pd.concat([_table(path) for path in paths], ignore_index=True))


def _table(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path) if path.name.endswith(".parquet") else pd.read_csv(path)
    missing = [key for key in _KEYS if key not in table]
    if missing:
        raise DatasetError(f"{path} has no column {', '.join(missing)}")
    counts = [f"smart_{a}" for a in ATTRIBUTES]
    table = table.reindex(columns=[*_KEYS, *counts])
    return table.assign(**{name: table[name].replace([np.inf, -np.inf], np.nan) for name in counts})


def history(table: pd.DataFrame) -> History:
    """Rows of `table` (columns of the files) in order; what follows a disk's failure is left out.

    Rows without a serial number or a date that can be read are left out; DatasetError where no other is there.
    """
    table = table.assign(
        date_start=_dates(table["date_start"]),
        date_stop=_dates(table["date_stop"]),
    ).dropna(subset=["serial_number", "date_start", "date_stop"])
    if table.empty:
        raise DatasetError("no row of the disks has a serial number, a date_start and a date_stop")
    table = table.sort_values(["serial_number", "date_start", "date_stop"], kind="stable")
    table = table.drop_duplicates(["serial_number", "date_start"], keep="last")
    disk = pd.factorize(table["serial_number"])[0].astype(np.int64)
    failed = table["fails"].to_numpy(np.float64) > 0
    before: Floats = pd.Series(failed.astype(np.float64)).groupby(disk).cumsum().to_numpy() - failed
    keep: NDArray[np.bool_] = before == 0
    return _of_sorted(table[keep], disk[keep])


def _of_sorted(table: pd.DataFrame, disk: Ints) -> History:
    start, stop = (_days(table[name]) for name in ("date_start", "date_stop"))
    first = np.concatenate([[0], np.flatnonzero(np.diff(disk)) + 1, [len(disk)]]).astype(np.int64)
    day = np.ceil(start).astype(np.int64)
    age = table["tstart"].to_numpy(np.float64) / 24.0 + (day - start)
    heads = table.iloc[first[:-1]]
    model, models = _codes(heads["model"], day[first[:-1]])
    maker, makers = _codes(heads["manufacturer"], day[first[:-1]])
    return History(
        disk=disk,
        day=day,
        age=age,
        values=table[[f"smart_{a}" for a in ATTRIBUTES]].to_numpy(np.float32),
        first=first,
        end=np.ceil(np.maximum.reduceat(stop, first[:-1])).astype(np.int64),
        failed=np.logical_or.reduceat(table["fails"].to_numpy(np.float64) > 0, first[:-1]),
        model=model,
        maker=maker,
        size_tb=heads["size_tb"].to_numpy(np.float64),
        models=models,
        makers=makers,
    )


def _dates(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Times in UTC without a zone; NaT where one cannot be read."""
    times = pd.to_datetime(column, utc=True, format="ISO8601", errors="coerce")
    return times.dt.tz_localize(None).astype("datetime64[ns]")


def _days(column: Any) -> Floats:
    return np.asarray(column.to_numpy().astype("datetime64[s]").astype(np.float64) / 86400.0)


def _codes(names: "pd.Series[Any]", begin: Ints) -> tuple[Ints, tuple[str, ...]]:
    """Codes in the order in which names first appear, so that one that comes later moves none."""
    order = np.lexsort((names.astype(str).to_numpy().astype("U"), begin))
    codes, found = pd.factorize(names.astype(str).to_numpy()[order])
    out = np.empty(len(names), dtype=np.int64)
    out[order] = codes
    return out, tuple(str(name) for name in found)
