"""Files of a namespace below FOREWARN_HOME: raw samples by day, windows, features, labels, models in the making."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from feature_repo.store import read_history
from forewarn.telemetry.samples import Kind, Series

_ABOUT = "windows.json"
_ARRAYS = ("cells.npy", "limits.npy")


@dataclass(frozen=True, slots=True, eq=False)
class SignalWindows:
    """History of S series on a grid: cells float32 [S, C] and limits float32 [S, C], NaN = missing or unknown.

    start_ns: event time at which cell 0 begins.
    """

    series: list[Series]
    cells: NDArray[np.float32]
    limits: NDArray[np.float32]
    start_ns: int
    step_seconds: float
    known_limited: NDArray[np.int64] | None = None  # `limited`, where it was kept with the windows

    @property
    def limited(self) -> NDArray[np.int64]:
        """Indices of the series whose limit is known at some time."""
        if self.known_limited is not None:
            return self.known_limited
        return np.flatnonzero(~np.isnan(self.limits).all(axis=1))

    def rows(self, index: NDArray[np.int64]) -> "SignalWindows":
        """Copies of some of the series."""
        series = [self.series[i] for i in index]
        return SignalWindows(series, self.cells[index], self.limits[index], self.start_ns, self.step_seconds)

    @property
    def step_ns(self) -> int:
        """Width of a cell in nanoseconds."""
        return int(self.step_seconds * 1e9)

    def time_of(self, cell: int) -> datetime:
        """Event time at which a cell begins, UTC."""
        return datetime.fromtimestamp((self.start_ns + cell * self.step_ns) / 1e9, UTC)

    def microseconds(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Event times at which cells begin, in microseconds."""
        return (self.start_ns + cells * self.step_ns) // 1000


@dataclass(frozen=True, slots=True)
class WindowFiles:
    """`cells.npy` and `limits.npy` in a folder, written a piece at a time by whoever sees the folder."""

    folder: Path
    series: int
    cells: int

    @classmethod
    def create(cls, folder: Path, series: int, cells: int) -> "WindowFiles":
        """Files of the full size, whose pieces are to be put."""
        for name in _ARRAYS:
            np.lib.format.open_memmap(folder / name, "w+", np.float32, (series, cells))
        return cls(folder, series, cells)

    def put(self, first: int, cells: NDArray[np.float32], limits: NDArray[np.float32]) -> None:
        """Rows from `first` on, float32 [n, C] each; written, not mapped, so that they take no memory afterwards."""
        for name, rows in zip(_ARRAYS, (cells, limits), strict=True):
            path = self.folder / name
            with path.open("r+b") as file:
                file.seek(path.stat().st_size - 4 * (self.series - first) * self.cells)
                file.write(np.ascontiguousarray(rows, np.float32).data)


@dataclass(frozen=True, slots=True)
class History:
    """Where the files of a namespace are, and how they are read and written."""

    home: Path
    namespace: str

    @property
    def folder(self) -> Path:
        """Folder of what is no feature: `history/namespaces/…`."""
        return self.home / "history" / "namespaces" / (self.namespace or "_")

    def day_file(self, day: date) -> Path:
        """Raw samples of a day of event time."""
        return self.folder / "raw_metrics" / f"day={day.isoformat()}" / "samples.parquet"

    def event_file(self, asset: str, day: date) -> Path:
        """Rows of a day of `raw_logs`, `log_templates` and their like."""
        return self.folder / asset / f"day={day.isoformat()}" / "rows.parquet"

    def day_files(self) -> list[Path]:
        """Raw samples there are, oldest first."""
        return sorted((self.folder / "raw_metrics").glob("day=*/samples.parquet"))

    def days_there(self) -> list[date]:
        """Days of which there are raw samples, oldest first."""
        return [date.fromisoformat(path.parent.name.removeprefix("day=")) for path in self.day_files()]

    def read_samples(self, start: datetime, stop: datetime) -> Iterator[pa.Table]:
        """Raw samples (series_id as a dictionary, time, value) with start <= time < stop: a table a day in order of
        time, each by series, then time."""
        where = (pc.field("time") >= pa.scalar(start)) & (pc.field("time") < pa.scalar(stop))
        for path, day in zip(self.day_files(), self.days_there(), strict=True):
            if start.date() <= day <= stop.date():
                yield pq.read_table(path, columns=["series_id", "time", "value"], filters=where, partitioning=None)

    def read_features(self, columns: list[str] | None = None, where: pc.Expression | None = None) -> pa.Table:
        """Features of the namespace in the feature store's history. Raises FileNotFoundError."""
        return read_history(self.home, self.namespace, columns, where)

    def model_folder(self, name: str, *, fresh: bool = False) -> Path:
        """Folder of a model in the making; emptied first where `fresh`."""
        folder = self.folder / "models" / name
        if fresh and folder.exists():
            shutil.rmtree(folder)
        return folder

    def write_table(self, name: str, table: pa.Table) -> Path:
        """A table as Parquet; it appears whole or not at all."""
        path = self.folder / f"{name}.parquet"
        write_parquet(path, table)
        return path

    def read_table(self, name: str) -> pa.Table:
        """What `write_table` wrote; raises FileNotFoundError with what to do."""
        return pq.read_table(self._existing(self.folder / f"{name}.parquet", name))

    def write_json(self, name: str, value: Any) -> Path:
        """A small record as JSON."""
        path = self.folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, indent=1))
        return path

    def read_json(self, name: str) -> Any:
        """What `write_json` wrote."""
        return json.loads(self._existing(self.folder / f"{name}.json", name).read_text())

    def write_series(self, series: list[Series]) -> None:
        """The series of the namespace, whose attributes Parquet rows do not carry."""
        rows = [[s.entity, s.signal, list(s.attributes), s.kind.name, s.unit] for s in series]
        self.write_json("series", rows)

    def add_series(self, series: list[Series]) -> None:
        """Series of the namespace now, beside those known before: files of days outlive the archive's series."""
        known = self.read_series() if (self.folder / "series.json").exists() else {}
        self.write_series(list((known | {s.id: s for s in series}).values()))

    def read_series(self) -> dict[str, Series]:
        """Series by id."""
        series = (
            Series(entity, signal, tuple((k, v) for k, v in attributes), Kind[kind], unit)
            for entity, signal, attributes, kind, unit in self.read_json("series")
        )
        return {s.id: s for s in series}

    def write_windows(self, windows: SignalWindows) -> Path:
        """Windows as a folder of arrays."""
        files = self.new_windows(*windows.cells.shape)
        files.put(0, windows.cells, windows.limits)
        self.finish_windows(windows.series, windows.limited, windows.start_ns, windows.step_seconds)
        return files.folder

    def new_windows(self, series: int, cells: int) -> "WindowFiles":
        """Files for windows, to be filled series by series; nobody reads them before `finish_windows`."""
        folder = self.folder / "signal_windows"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _ABOUT).unlink(missing_ok=True)  # while it is not there, nothing is
        return WindowFiles.create(folder, series, cells)

    def finish_windows(
        self, series: Sequence[Series], limited: NDArray[np.int64], start_ns: int, step_seconds: float
    ) -> None:
        """Say what the files of `new_windows` hold, now that they hold all of it."""
        about = {
            "ids": [s.id for s in series],
            "limited": limited.tolist(),
            "start_ns": start_ns,
            "step_seconds": step_seconds,
        }
        (self.folder / "signal_windows" / _ABOUT).write_text(json.dumps(about))

    def read_windows(self) -> SignalWindows:
        """What `write_windows` wrote; the arrays stay on disk until they are read, and cannot be written."""
        folder = self.folder / "signal_windows"
        about = json.loads(self._existing(folder / _ABOUT, "signal_windows").read_text())
        known = self.read_series()
        cells, limits = (np.load(folder / name, mmap_mode="r") for name in _ARRAYS)
        series, limited = [known[name] for name in about["ids"]], np.array(about["limited"], np.int64)
        return SignalWindows(series, cells, limits, about["start_ns"], about["step_seconds"], limited)

    def _existing(self, path: Path, asset: str) -> Path:
        if not path.exists():
            raise FileNotFoundError(
                f"{path} is not there: materialise the asset '{asset}' of namespace '{self.namespace}' first"
            )
        return path


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a file beside its place and move it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    pq.write_table(table, partial, compression="zstd", compression_level=1)
    partial.rename(path)
