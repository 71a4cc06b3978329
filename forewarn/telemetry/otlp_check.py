"""What of an OTLP request could not be read later, for want of a usable time: it is left out and the sender is told."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from forewarn.telemetry import otlp_walk as walk
from forewarn.telemetry.otlp_split import Signal

_LAST_TIME = 2**63 - 1  # nanoseconds; the year 2262


@dataclass(frozen=True, slots=True)
class Checked:
    """payload: the request as it may go on; rejected: how many records were left out, and why; empty: none stayed."""

    payload: bytes
    rejected: int = 0
    empty: bool = False
    reason: str = ""


def check(signal: Signal, payload: bytes, request: Message) -> Checked:
    """The request without data points and spans that have no time between 1970 and 2262.

    A log record without any time gets that of its arrival as observed time, as OTLP asks of who receives it.
    payload: the request in protobuf; request: the same, decoded, which is changed.
    """
    if walk.all_timed(payload, *_TAGS[signal]):
        return Checked(payload)
    taken, rejected, changed = _CHECKS[signal](request)
    if not changed and not rejected:
        return Checked(payload)
    reason = f"{rejected} records have no time between 1970 and 2262 ({_FIELDS[signal]})" if rejected else ""
    return Checked(request.SerializeToString(), rejected, not taken, reason)


_TAGS: dict[Signal, tuple[int, ...]] = {
    "metrics": (walk.METRIC_TIME,),
    "traces": (walk.SPAN_START,),
    "logs": (walk.LOG_TIME, walk.LOG_OBSERVED),
}
_FIELDS = {"metrics": "time_unix_nano", "logs": "time_unix_nano", "traces": "start_time_unix_nano"}
_Counts = tuple[int, int, bool]  # taken, rejected, whether the message was changed


def _metrics(request: Any) -> _Counts:
    taken = rejected = 0
    for of_resource in request.resource_metrics:
        for scope in of_resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                if kind is not None:
                    points = getattr(metric, kind).data_points
                    gone = _without(points, lambda point: 0 < point.time_unix_nano <= _LAST_TIME)
                    taken, rejected = taken + len(points), rejected + gone
    return taken, rejected, bool(rejected)


def _traces(request: Any) -> _Counts:
    taken = rejected = 0
    for of_resource in request.resource_spans:
        for scope in of_resource.scope_spans:
            rejected += _without(scope.spans, lambda span: 0 < span.start_time_unix_nano <= _LAST_TIME)
            taken += len(scope.spans)
    return taken, rejected, bool(rejected)


def _logs(request: Any) -> _Counts:
    taken = rejected = 0
    changed = False
    for of_resource in request.resource_logs:
        for scope in of_resource.scope_logs:
            rejected += _without(scope.log_records, _usable)
            taken += len(scope.log_records)
            for record in scope.log_records:
                if not (record.time_unix_nano or record.observed_time_unix_nano):
                    record.observed_time_unix_nano = time.time_ns()
                    changed = True
    return taken, rejected, changed


def _usable(record: Any) -> bool:
    told: int = record.time_unix_nano or record.observed_time_unix_nano
    return told <= _LAST_TIME


def _without(records: Any, good: Callable[[Any], bool]) -> int:
    """Delete the records that are not good; how many there were."""
    bad = [i for i, record in enumerate(records) if not good(record)]
    for i in reversed(bad):
        del records[i]
    return len(bad)


_CHECKS: dict[str, Callable[[Any], _Counts]] = {"metrics": _metrics, "logs": _logs, "traces": _traces}
