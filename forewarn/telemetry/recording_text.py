"""The text files of a recording: logs as JSON lines, limits, topology and failures as CSV, meta as JSON."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from forewarn.telemetry.recording import Failure, Limit, Logs
from forewarn.telemetry.recording_errors import RecordingError
from forewarn.telemetry.recording_parquet import attributes_of, attributes_text
from forewarn.telemetry.samples import Series

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Line(msgspec.Struct, omit_defaults=True):
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    entity: Text
    severity: str
    body: str
    trace_id: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{32})?$")] = ""
    span_id: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{16})?$")] = ""
    attributes: dict[str, str] = {}


def read_logs(path: Path) -> tuple[Logs, list[str]]:
    """Log lines sorted by time, and notes on what was mended. Raises RecordingError."""
    numbers: dict[str, int] = {}
    columns: tuple[list[Any], ...] = ([], [], [], [], [], [], [])
    for line in _lines(path):
        row = (
            numbers.setdefault(line.entity, len(numbers)),
            _nanoseconds(line.timestamp),
            line.severity,
            line.body,
            line.trace_id,
            line.span_id,
            line.attributes,
        )
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    index, times = np.array(columns[0], np.int32), np.array(columns[1], np.int64)
    texts = columns[2:6]
    attributes = columns[6] if any(columns[6]) else []
    notes = []
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        order = np.argsort(times, kind="stable")
        index, times = index[order], times[order]
        texts = tuple([column[i] for i in order] for column in texts)
        attributes = [attributes[i] for i in order] if attributes else []
        notes = [f"{path.name}: not in the order of time (first at line {back[0] + 2}); sorted"]
    severities, bodies, trace_ids, span_ids = texts
    return Logs(tuple(numbers), index, times, severities, bodies, trace_ids, span_ids, attributes), notes


def write_logs(path: Path, logs: Logs) -> None:
    """Write log lines as logs.jsonl."""
    encoder = msgspec.json.Encoder()
    with path.open("wb") as file:
        for i in range(len(logs)):
            line = _Line(
                utc_exact(int(logs.times[i])),
                logs.entities[logs.index[i]],
                logs.severities[i],
                logs.bodies[i],
                logs.trace_ids[i],
                logs.span_ids[i],
                logs.attributes[i] if logs.attributes else {},
            )
            file.write(encoder.encode(line) + b"\n")


def utc_exact(time_ns: int) -> datetime:
    """Nanoseconds since 1970 as a datetime in UTC, cut to the microsecond without going through a float."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)


def read_limits(path: Path, series: Sequence[Series]) -> tuple[Limit, ...]:
    """Limits; the unit of the limited series is theirs. An empty tuple without the file. Raises RecordingError."""
    units = {(s.entity, s.signal): s.unit for s in series}
    limits = []
    for line, row in _rows(path, ("entity", "signal", "limit")):
        value = _number(path, line, row["limit"])
        unit = units.get((row["entity"], row["signal"]), "")
        attributes = attributes_of(path, row.get("attributes") or "")
        limits.append(Limit(Series(row["entity"], row["signal"], attributes, unit=unit), value))
    return tuple(limits)


def write_limits(path: Path, limits: Iterable[Limit]) -> None:
    """Write limits.csv."""
    rows = [(x.series.entity, x.series.signal, x.value, attributes_text(x.series)) for x in limits]
    _write_rows(path, ("entity", "signal", "limit", "attributes"), rows)


def read_topology(path: Path) -> tuple[tuple[str, str], ...]:
    """Pairs (client, server). Raises RecordingError."""
    return tuple((row["entity"], row["depends_on"]) for _, row in _rows(path, ("entity", "depends_on")))


def write_topology(path: Path, topology: Iterable[tuple[str, str]]) -> None:
    """Write topology.csv."""
    _write_rows(path, ("entity", "depends_on"), topology)


def read_failures(path: Path) -> tuple[Failure, ...]:
    """Failures in the order of the file. Raises RecordingError."""
    return tuple(
        Failure(
            entity=row["entity"],
            mode=row["mode"],
            first_failure_at=_time(path, line, row["first_failure_at"]),
            cause_entity=row.get("cause_entity") or "",
            cause_signal=row.get("cause_signal") or "",
        )
        for line, row in _rows(path, ("entity", "mode", "first_failure_at"))
    )


def write_failures(path: Path, failures: Iterable[Failure]) -> None:
    """Write failures.csv."""
    header = ("entity", "mode", "first_failure_at", "cause_entity", "cause_signal")
    rows = ((f.entity, f.mode, f.first_failure_at.isoformat(), f.cause_entity, f.cause_signal) for f in failures)
    _write_rows(path, header, rows)


def read_meta(path: Path) -> dict[str, Any]:
    """The object in meta.json, empty without the file. Raises RecordingError."""
    if not path.exists():
        return {}
    try:
        meta = json.loads(path.read_bytes())
    except ValueError as error:
        raise RecordingError(f"{path} is not JSON: {error}") from error
    if not isinstance(meta, dict):
        raise RecordingError(f"{path} must hold a JSON object")
    return meta


def _lines(path: Path) -> Iterator[_Line]:
    decoder = msgspec.json.Decoder(_Line)
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise RecordingError(f"{path}, line {number}: {error}") from error


def _nanoseconds(time: datetime) -> int:
    since = time - _EPOCH
    return ((since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


def _rows(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells of each row; nothing without the file."""
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in needed if name not in (reader.fieldnames or ())]
        if missing:
            raise RecordingError(
                f"{path} has no column {', '.join(missing)}; its first line must be {','.join(needed)}"
            )
        for row in reader:
            empty = [name for name in needed if not row.get(name)]
            if empty:
                raise RecordingError(f"{path}, line {reader.line_num}: {empty[0]} is empty")
            yield reader.line_num, row


def _number(path: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RecordingError(f"{path}, line {line}: limit is {text!r}; it must be a number")
    return value


def _time(path: Path, line: int, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise RecordingError(f"{path}, line {line}: {text!r} is not a time such as 2026-01-05T10:00:00Z") from error
    if time.tzinfo is None:
        raise RecordingError(f"{path}, line {line}: {text!r} has no time zone; write it as {text}Z if it is UTC")
    return time.astimezone(UTC)


def _write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
