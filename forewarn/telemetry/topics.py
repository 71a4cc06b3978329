"""Topics of the log and what a message on each of them is. The key is the entity, a message is a batch."""

METRICS = "otlp_metrics"  # OTLP ExportMetricsServiceRequest, protobuf
LOGS = "otlp_logs"  # OTLP ExportLogsServiceRequest, protobuf
SPANS = "otlp_spans"  # OTLP ExportTraceServiceRequest, protobuf
ACTIVITY = "activity"  # JSON, see docs/data-formats.md
RISKS = "risks"  # JSON, forewarn.risk.records.Risk
OBSERVATIONS = "observations"  # JSON, forewarn.risk.records.Observation
INCIDENTS = "incidents"  # JSON, forewarn.incidents.records.Incident
DEAD_LETTERS = "dead_letters"  # what could not be read; headers: topic, partition, offset, reason

ALL = (METRICS, LOGS, SPANS, ACTIVITY, RISKS, OBSERVATIONS, INCIDENTS, DEAD_LETTERS)
