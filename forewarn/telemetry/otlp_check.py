"""What of an OTLP request could not be read later, for want of a usable time: it is left out and the sender is told."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message

from forewarn.telemetry import otlp_walk as walk
from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.otlp_attributes import resource_entity
from forewarn.telemetry.otlp_split import Signal

LAST_TIME = 2**63 - 1  # nanoseconds; the year 2262


@dataclass(frozen=True, slots=True)
class Checked:
    """payload: the request as it may go on; rejected: how many records were left out, and why; empty: none stayed."""

    payload: bytes
    rejected: int = 0
    empty: bool = False
    reason: str = ""


def latest_time(ahead_seconds: float) -> int:
    """The last time that is believed now, in nanoseconds. ahead_seconds: beyond the clock here; 0: any time is."""
    return min(time.time_ns() + int(ahead_seconds * 1e9), LAST_TIME) if ahead_seconds else LAST_TIME


def check(signal: Signal, payload: bytes, request: Message, latest_ns: int = LAST_TIME) -> Checked:
    """The request without records that have no time between 1970 and `latest_ns`: see `latest_time`.

    A log record without any time gets that of its arrival as observed time, as OTLP asks of who receives it.
    payload: the request in protobuf; request: the same, decoded, which is changed.
    """
    if walk.all_timed(payload, latest_ns, *_TAGS[signal]):
        return Checked(payload)
    taken = rejected = 0
    changed, first = False, ""
    for part in getattr(request, _RESOURCES[signal]):
        kept, gone, stamped = _CHECKS[signal](part, latest_ns)
        first = first or (resource_entity(part.resource) if gone else "")
        taken, rejected, changed = taken + kept, rejected + gone, changed or stamped or bool(gone)
    if not changed:
        return Checked(payload)
    return Checked(request.SerializeToString(), rejected, not taken, _reason(signal, rejected, first, latest_ns))


def kept(signal: Signal, payload: bytes, request: Message, ahead_seconds: float) -> Checked:
    """As `check`, with `latest_time` now. Raises TelemetryError with the reason where no record stays."""
    checked = check(signal, payload, request, latest_time(ahead_seconds))
    if checked.rejected and checked.empty:
        raise TelemetryError(checked.reason)
    return checked


def _reason(signal: Signal, rejected: int, first: str, latest_ns: int) -> str:
    """first: the entity that one of them is of."""
    if not rejected:
        return ""
    said = f"{rejected} records, such as of '{first}', have no time between 1970 and "
    if latest_ns == LAST_TIME:
        return f"{said}2262 ({_FIELDS[signal]})"
    latest = datetime.fromtimestamp(latest_ns / 1e9, UTC)
    return (
        f"{said}{latest:%Y-%m-%d %H:%M:%S} UTC ({_FIELDS[signal]}): is the sender's clock right? "
        "FOREWARN_MAX_AHEAD_SECONDS says how far ahead it may be"
    )


_TAGS: dict[Signal, tuple[int, ...]] = {
    "metrics": (walk.METRIC_TIME,),
    "traces": (walk.SPAN_START,),
    "logs": (walk.LOG_TIME, walk.LOG_OBSERVED),
}
_FIELDS = {"metrics": "time_unix_nano", "logs": "time_unix_nano", "traces": "start_time_unix_nano"}
_RESOURCES = {"metrics": "resource_metrics", "logs": "resource_logs", "traces": "resource_spans"}
_Counts = tuple[int, int, bool]  # of a resource: records that stay, records left out, whether one was given a time


def _metrics(of_resource: Any, latest: int) -> _Counts:
    taken = rejected = 0
    for scope in of_resource.scope_metrics:
        for metric in scope.metrics:
            kind = metric.WhichOneof("data")
            if kind is not None:
                points = getattr(metric, kind).data_points
                rejected += _without(points, lambda point: 0 < point.time_unix_nano <= latest)
                taken += len(points)
    return taken, rejected, False


def _traces(of_resource: Any, latest: int) -> _Counts:
    taken = rejected = 0
    for scope in of_resource.scope_spans:
        rejected += _without(scope.spans, lambda span: 0 < span.start_time_unix_nano <= latest)
        taken += len(scope.spans)
    return taken, rejected, False


def _logs(of_resource: Any, latest: int) -> _Counts:
    taken = rejected = 0
    stamped = False
    for scope in of_resource.scope_logs:
        rejected += _without(scope.log_records, lambda record: _told(record) <= latest)
        taken += len(scope.log_records)
        for record in scope.log_records:
            if not _told(record):
                record.observed_time_unix_nano = time.time_ns()
                stamped = True
    return taken, rejected, stamped


def _told(record: Any) -> int:
    told: int = record.time_unix_nano or record.observed_time_unix_nano
    return told


def _without(records: Any, good: Callable[[Any], bool]) -> int:
    """Delete the records that are not good; how many there were."""
    bad = [i for i, record in enumerate(records) if not good(record)]
    for i in reversed(bad):
        del records[i]
    return len(bad)


_CHECKS: dict[str, Callable[[Any, int], _Counts]] = {"metrics": _metrics, "logs": _logs, "traces": _traces}
