"""Random OTLP metrics requests, and random damage to them."""

from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["a" * 300, "nul\x00", "cpu", "x_bucket", "x_count", "x_sum", "ms", "MiBy/s"]
)
TIMES = st.integers(1, 2**63 - 1)
FLOATS = st.floats(width=64)
FLAGS = st.sampled_from([0, 0, 0, 1, 2])
SMALL = st.integers(0, 2**64 - 1)
any_values = st.recursive(
    st.builds(common.AnyValue, string_value=NAMES)
    | st.builds(common.AnyValue, int_value=st.integers(-(2**63), 2**63 - 1))
    | st.builds(common.AnyValue, bool_value=st.booleans())
    | st.builds(common.AnyValue, double_value=FLOATS)
    | st.builds(common.AnyValue, bytes_value=st.binary(max_size=5))
    | st.just(common.AnyValue()),
    lambda inner: st.lists(inner, max_size=2).map(
        lambda values: common.AnyValue(array_value=common.ArrayValue(values=values))
    ),
    max_leaves=3,
)
attributes = st.lists(st.builds(common.KeyValue, key=NAMES, value=any_values), max_size=3) | st.sampled_from(
    ["0.1", "1", "+Inf", "NaN", "x"]
).map(lambda le: [common.KeyValue(key="le", value=common.AnyValue(string_value=le))])
number_points = st.builds(
    pb.NumberDataPoint, attributes=attributes, time_unix_nano=TIMES, as_double=FLOATS, flags=FLAGS
) | st.builds(
    pb.NumberDataPoint,
    attributes=attributes,
    start_time_unix_nano=TIMES,
    time_unix_nano=TIMES,
    as_int=st.none() | st.integers(-(2**63), 2**63 - 1),
    exemplars=st.lists(st.builds(pb.Exemplar, as_double=FLOATS), max_size=1),
)
numbers = st.lists(number_points, max_size=5)
TEMPORALITIES = st.sampled_from([0, 1, 2])
histogram_points = st.builds(
    pb.HistogramDataPoint,
    attributes=attributes,
    time_unix_nano=TIMES,
    count=SMALL,
    sum=st.none() | FLOATS,
    bucket_counts=st.sampled_from([[1, 2, 0, 4], [], [5], [1, 2, 3]]),
    explicit_bounds=st.sampled_from([[0.1, 0.5, 2.0], []]),
    start_time_unix_nano=TIMES | st.just(0),
    min=st.none() | FLOATS,
    max=st.none() | FLOATS,
    flags=FLAGS,
)
exponential_buckets = st.builds(
    pb.ExponentialHistogramDataPoint.Buckets,
    offset=st.integers(-(2**31), 2**31 - 1) | st.integers(-5, 5),
    bucket_counts=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 300), max_size=5),
)
exponential_points = st.builds(
    pb.ExponentialHistogramDataPoint,
    attributes=attributes,
    time_unix_nano=TIMES,
    start_time_unix_nano=TIMES | st.just(0),
    count=SMALL,
    sum=st.none() | FLOATS,
    min=st.none() | FLOATS,
    max=st.none() | FLOATS,
    scale=st.integers(-12, 22) | st.integers(-(2**31), 2**31 - 1),
    zero_count=SMALL | st.just(0),
    zero_threshold=FLOATS,
    positive=st.none() | exponential_buckets,
    negative=st.none() | exponential_buckets,
    flags=FLAGS,
)
quantiles = st.builds(pb.SummaryDataPoint.ValueAtQuantile, quantile=st.sampled_from([0.5, 0.999]), value=FLOATS)
summary_points = st.builds(
    pb.SummaryDataPoint,
    attributes=attributes,
    time_unix_nano=TIMES,
    count=SMALL,
    sum=FLOATS,
    quantile_values=st.lists(quantiles, max_size=2, unique_by=lambda q: q.quantile),
)
metrics = st.one_of(
    st.builds(pb.Metric, name=NAMES, unit=NAMES, gauge=st.builds(pb.Gauge, data_points=numbers)),
    st.builds(
        pb.Metric,
        name=NAMES,
        description=NAMES,
        sum=st.builds(pb.Sum, data_points=numbers, aggregation_temporality=TEMPORALITIES, is_monotonic=st.booleans()),
    ),
    st.builds(
        pb.Metric,
        name=NAMES,
        histogram=st.builds(
            pb.Histogram, data_points=st.lists(histogram_points, max_size=2), aggregation_temporality=TEMPORALITIES
        ),
    ),
    st.builds(
        pb.Metric,
        name=NAMES,
        unit=NAMES | st.sampled_from(["ms", "%", "MiBy/s"]),
        exponential_histogram=st.builds(
            pb.ExponentialHistogram,
            data_points=st.lists(exponential_points, max_size=4),
            aggregation_temporality=TEMPORALITIES,
        ),
    ),
    st.builds(pb.Metric, name=NAMES, summary=st.builds(pb.Summary, data_points=st.lists(summary_points, max_size=2))),
    st.just(pb.Metric()),
)
scopes = st.builds(pb.ScopeMetrics, metrics=st.lists(metrics, max_size=4))
resources = st.builds(
    Resource,
    attributes=st.lists(
        st.builds(
            common.KeyValue, key=st.sampled_from(["service.name", "service.namespace", "host.name"]), value=any_values
        ),
        max_size=3,
    ),
)
resource_metrics = st.builds(
    pb.ResourceMetrics, resource=st.none() | resources, scope_metrics=st.lists(scopes, max_size=2)
)
requests = st.lists(resource_metrics, max_size=3).map(
    lambda many: ExportMetricsServiceRequest(resource_metrics=many).SerializeToString()
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A request that was cut off, or had some bits turned over, or both."""
    payload = bytearray(draw(requests.filter(bool)))
    for _ in range(draw(st.integers(0, 4))):
        position = draw(st.integers(0, len(payload) - 1))
        payload[position] ^= 1 << draw(st.integers(0, 7))
    return bytes(payload[: draw(st.integers(0, len(payload)))])
