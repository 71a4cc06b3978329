"""Files of a namespace below FOREWARN_HOME: raw samples by day, windows, features, labels, models in the making."""

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from feature_repo.store import read_history
from forewarn.telemetry.samples import Kind, Series

_NO_SAMPLES = pa.table(
    {
        "series_id": pa.array([], pa.dictionary(pa.int32(), pa.string())),
        "time": pa.array([], pa.timestamp("us", tz="UTC")),
        "value": pa.array([], pa.float64()),
    }
)


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

    @property
    def limited(self) -> NDArray[np.int64]:
        """Indices of the series whose limit is known at some time."""
        return np.flatnonzero(~np.isnan(self.limits).all(axis=1))

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

    def read_samples(self, start: datetime, stop: datetime) -> pa.Table:
        """Raw samples (series_id as a dictionary, time, value) with start <= time < stop; empty where none are."""
        days = {f"day={start.date() + timedelta(days=n)}" for n in range((stop.date() - start.date()).days + 1)}
        files = [path for path in self.day_files() if path.parent.name in days]
        where = (pc.field("time") >= pa.scalar(start)) & (pc.field("time") < pa.scalar(stop))
        parts = [
            pq.read_table(path, columns=["series_id", "time", "value"], filters=where, partitioning=None)
            for path in files
        ]
        return pa.concat_tables(parts).unify_dictionaries() if parts else _NO_SAMPLES

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

    def read_series(self) -> dict[str, Series]:
        """Series by id."""
        series = (
            Series(entity, signal, tuple((k, v) for k, v in attributes), Kind[kind], unit)
            for entity, signal, attributes, kind, unit in self.read_json("series")
        )
        return {s.id: s for s in series}

    def write_windows(self, windows: SignalWindows) -> Path:
        """Windows as one .npz file."""
        path = self.folder / "signal_windows.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        ids = np.array([s.id for s in windows.series])
        np.savez(
            path,
            ids=ids,
            cells=windows.cells,
            limits=windows.limits,
            start_ns=windows.start_ns,
            step=windows.step_seconds,
        )
        return path

    def read_windows(self) -> SignalWindows:
        """What `write_windows` wrote."""
        known = self.read_series()
        with np.load(self._existing(self.folder / "signal_windows.npz", "signal_windows")) as file:
            series = [known[name] for name in file["ids"].tolist()]
            return SignalWindows(series, file["cells"], file["limits"], int(file["start_ns"]), float(file["step"]))

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
