"""Which series a set of Prometheus labels names: asked of remote write itself, so that imports and live data agree."""

from collections.abc import Mapping

from forewarn.telemetry.otlp_metrics import decode_metrics
from forewarn.telemetry.proto.prometheus_remote_write_pb2 import Label, WriteRequest
from forewarn.telemetry.remote_write import decode_write_request
from forewarn.telemetry.samples import Series

_ANY_TIME_MS = 1_000


def series_of_labels(labels: Mapping[str, str]) -> Series | None:
    """The series that a sample with these labels becomes at the gateway; None where it becomes none of its own.

    Raises TelemetryError for labels without a name.
    """
    request = WriteRequest()
    row = request.timeseries.add(
        labels=[Label(name=key, value=labels[key]).SerializeToString() for key in sorted(labels)]
    )
    row.samples.add(value=1.0, timestamp=_ANY_TIME_MS)
    for payload in decode_write_request(request.SerializeToString()).requests.values():
        series = decode_metrics(payload).series
        if len(series) == 1:
            return series[0]
    return None
