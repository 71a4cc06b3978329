"""A recording: telemetry kept as a folder of files, read into columns and written back (docs/data-formats.md)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.telemetry.recording_errors import RecordingError
from forewarn.telemetry.samples import SampleBatch, Series

TELEMETRY, LOGS, SPANS = "telemetry.parquet", "logs.jsonl", "spans.parquet"
LIMITS, TOPOLOGY, FAILURES, META = "limits.csv", "topology.csv", "failures.csv", "meta.json"


@dataclass(frozen=True, slots=True, eq=False)
class Logs:
    """`n` lines of logs in event-time order.

    entities: the distinct ones; index: int32 [n] into them; times: int64 [n], nanoseconds since 1970 UTC;
    trace_ids, span_ids: hexadecimal or ''; attributes: one mapping a line, or empty where no line has any.
    """

    entities: tuple[str, ...]
    index: NDArray[np.int32]
    times: NDArray[np.int64]
    severities: list[str]
    bodies: list[str]
    trace_ids: list[str]
    span_ids: list[str]
    attributes: list[dict[str, str]]

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """`n` spans in the order of their start.

    entities: the distinct ones; index: int32 [n] into them; starts: int64 [n], nanoseconds since 1970 UTC;
    durations: float64 [n], seconds; trace_ids: S32 [n], span_ids and parent_span_ids: S16 [n], hexadecimal in ASCII,
    an empty parent for a root; operations and kinds: texts; errors: bool [n].
    """

    entities: tuple[str, ...]
    index: NDArray[np.int32]
    starts: NDArray[np.int64]
    durations: NDArray[np.float64]
    trace_ids: NDArray[np.bytes_]
    span_ids: NDArray[np.bytes_]
    parent_span_ids: NDArray[np.bytes_]
    operations: NDArray[np.object_]
    kinds: NDArray[np.object_]
    errors: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, slots=True)
class Limit:
    """A known capacity or objective of a signal; `series` is the one that is limited."""

    series: Series
    value: float


@dataclass(frozen=True, slots=True)
class Failure:
    """What really happened: for the eye and for evaluation, never sent to the predictor."""

    entity: str
    mode: str
    first_failure_at: datetime
    cause_entity: str = ""
    cause_signal: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """Telemetry of some entities over some time, sorted by event time.

    topology: pairs (client, server): the first depends on the second. notes: what the reader mended, in words.
    """

    name: str
    metrics: SampleBatch
    logs: Logs | None = None
    spans: Spans | None = None
    limits: tuple[Limit, ...] = ()
    topology: tuple[tuple[str, str], ...] = ()
    failures: tuple[Failure, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def entities(self) -> tuple[str, ...]:
        """Every entity that sent something, sorted."""
        named = {s.entity for s in self.metrics.series}
        return tuple(sorted(named.union(*(part.entities for part in (self.logs, self.spans) if part is not None))))

    @property
    def span_ns(self) -> tuple[int, int]:
        """First and last event time, nanoseconds since 1970 UTC."""
        times = [self.metrics.times]
        times += [self.logs.times] if self.logs is not None else []
        times += [self.spans.starts] if self.spans is not None else []
        there = [t for t in times if len(t)]
        return int(min(t[0] for t in there)), int(max(t[-1] for t in there))


def read_recording(path: Path, strict: bool = False) -> Recording:
    """Read and check a recording.

    What has one clear meaning is mended and told in `notes`: rows out of order are sorted, of duplicates the last
    counts. With `strict` these are errors, too. Raises RecordingError, which says file, place and what to do.
    """
    from forewarn.telemetry import recording_parquet, recording_text  # pyarrow is heavy

    _require_folder(path)
    metrics, notes = recording_parquet.read_metrics(path / TELEMETRY)
    logs, more = recording_text.read_logs(path / LOGS) if (path / LOGS).exists() else (None, [])
    notes += more
    spans, more = recording_parquet.read_spans(path / SPANS) if (path / SPANS).exists() else (None, [])
    notes += more
    if strict and notes:
        raise RecordingError(f"{path}: {'; '.join(notes)}")
    recording = Recording(
        name=path.resolve().name,
        metrics=metrics,
        logs=logs,
        spans=spans,
        limits=recording_text.read_limits(path / LIMITS, metrics.series),
        topology=recording_text.read_topology(path / TOPOLOGY),
        failures=recording_text.read_failures(path / FAILURES),
        meta=recording_text.read_meta(path / META),
    )
    return replace(recording, notes=(*notes, *_strangers(recording)))


def write_recording(path: Path, recording: Recording) -> None:
    """Write a recording as a folder; times are kept to the microsecond. Raises RecordingError if `path` is taken."""
    from forewarn.telemetry import recording_parquet, recording_text

    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RecordingError(f"{path} exists and is not an empty folder: name another one, or remove it")
    path.mkdir(parents=True, exist_ok=True)
    recording_parquet.write_metrics(path / TELEMETRY, recording.metrics)
    if recording.logs is not None:
        recording_text.write_logs(path / LOGS, recording.logs)
    if recording.spans is not None:
        recording_parquet.write_spans(path / SPANS, recording.spans)
    recording_text.write_limits(path / LIMITS, recording.limits)
    recording_text.write_topology(path / TOPOLOGY, recording.topology)
    recording_text.write_failures(path / FAILURES, recording.failures)
    (path / META).write_text(json.dumps(dict(recording.meta), indent=1, ensure_ascii=False, default=str) + "\n")


def utc(time_ns: int) -> datetime:
    """Nanoseconds since 1970 as a datetime in UTC."""
    return datetime.fromtimestamp(time_ns / 1e9, UTC)


def _require_folder(path: Path) -> None:
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise RecordingError(f"{path} {what}: a recording is a folder with at least {TELEMETRY}")
    if not (path / TELEMETRY).is_file():
        near = sorted(p.parent.name for p in path.glob(f"*/{TELEMETRY}"))
        hint = f" Did you mean one of the recordings in it: {', '.join(near[:5])} …?" if near else ""
        raise RecordingError(f"{path} has no {TELEMETRY}, which every recording needs.{hint}")


def _strangers(recording: Recording) -> list[str]:
    """Limits of entities that never send: nothing will come of them, which is better said than found out."""
    entities = set(recording.entities)
    strange = sorted({limit.series.entity for limit in recording.limits} - entities)
    return [f"{LIMITS}: no telemetry of {', '.join(strange)}"] if strange else []
