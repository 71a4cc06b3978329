"""Units become seconds, bytes and ratios, in both decoders."""

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb

from forewarn.telemetry.otlp_metrics import decode_metrics
from forewarn.telemetry.otlp_reference import decode_metrics_reference
from forewarn.telemetry.units import base_unit


@pytest.mark.parametrize(
    ("unit", "base", "value"),
    [
        ("ms", "s", 0.25), ("us", "s", 0.00025), ("s", "s", 250), ("h", "s", 900_000), ("KiBy", "By", 256_000),
        ("MiBy/s", "By/s", 262_144_000), ("kBy", "By", 250_000), ("%", "1", 2.5), ("1", "1", 250), ("", "", 250),
        ("{request}", "{request}", 250), ("By", "By", 250), ("Cel", "Cel", 250),
    ],
)  # fmt: skip
def test_a_value_comes_in_its_base_unit(unit: str, base: str, value: float) -> None:
    made = ExportMetricsServiceRequest()
    points = [pb.NumberDataPoint(time_unix_nano=10**9, as_double=250.0)]
    metrics = made.resource_metrics.add().scope_metrics.add().metrics
    metrics.add(name="a", unit=unit, gauge=pb.Gauge(data_points=points))
    metrics.add(name="b", gauge=pb.Gauge(data_points=points))  # another unit in the same message
    for decode in (decode_metrics, decode_metrics_reference):
        batch = decode(made.SerializeToString())
        found = {
            batch.series[i].signal: (batch.series[i].unit, v) for i, v in zip(batch.index, batch.values, strict=True)
        }
        assert found == {"a": (base, pytest.approx(value)), "b": ("", 250.0)}


def test_a_base_unit_stays_as_it_is() -> None:
    for unit in ("ms", "MiBy/s", "%", "d"):
        base, factor = base_unit(unit)
        assert factor != 1
        assert base_unit(base) == (base, 1.0)
