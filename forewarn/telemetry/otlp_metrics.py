"""OTLP metrics (ExportMetricsServiceRequest, protobuf) to arrays of samples."""

from forewarn.telemetry.otlp_reference import decode_metrics_reference
from forewarn.telemetry.samples import SampleBatch


def decode_metrics(payload: bytes) -> SampleBatch:
    """Samples of one message. Raises TelemetryError with the reason for bytes that cannot be read."""
    return decode_metrics_reference(payload)
