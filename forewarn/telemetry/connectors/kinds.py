"""The three kinds of records that become signals, by the topic that they come from."""

from typing import Any

from forewarn.telemetry import topics
from forewarn.telemetry.activity import decode_activity
from forewarn.telemetry.connectors.activity_meter import ActivityBucket, ActivityMeter, time_of
from forewarn.telemetry.connectors.log_meter import LogBucket, LogMeter
from forewarn.telemetry.connectors.span_meter import SpanBucket, SpanMeter
from forewarn.telemetry.connectors.stream import Kind
from forewarn.telemetry.otlp_logs import decode_logs
from forewarn.telemetry.otlp_traces import decode_spans

LOGS = Kind(decode_logs, lambda r: r.entity, lambda r: r.time, LogMeter, LogBucket)
SPANS = Kind(decode_spans, lambda s: s.entity, lambda s: s.start, SpanMeter, SpanBucket)
ACTIVITY = Kind(decode_activity, lambda e: e.service, time_of, ActivityMeter, ActivityBucket)

BY_TOPIC: dict[str, Kind[Any]] = {topics.LOGS: LOGS, topics.SPANS: SPANS, topics.ACTIVITY: ACTIVITY}
