"""Histograms of every kind become quantiles of what came since their last point."""

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb

from forewarn.telemetry import classic_histograms
from forewarn.telemetry.histograms import HistogramState
from forewarn.telemetry.otlp_metrics import decode_metrics
from forewarn.telemetry.otlp_reference import decode_metrics_reference
from forewarn.telemetry.proto.prometheus_remote_write_pb2 import Label, Sample, TimeSeries, WriteRequest
from forewarn.telemetry.remote_write import decode_write_request
from forewarn.telemetry.samples import Kind

SECOND = 10**9
DELTA, CUMULATIVE = 1, 2
BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]
STALE = float(np.frombuffer(np.uint64(0x7FF0000000000002).tobytes(), np.float64)[0])


def request(metric: pb.Metric) -> bytes:
    made = ExportMetricsServiceRequest()
    made.resource_metrics.add().scope_metrics.add().metrics.append(metric)
    return made.SerializeToString()


def told(payload: bytes, state: HistogramState) -> dict[str, float]:
    batch = decode_metrics(payload, state)
    return {batch.series[i].name: float(v) for i, v in zip(batch.index, batch.values, strict=True)}


def explicit(values: np.ndarray, time: int, temporality: int, unit: str = "s", **more: object) -> bytes:
    counts = np.bincount(np.searchsorted(BOUNDS, values), minlength=len(BOUNDS) + 1)
    point = pb.HistogramDataPoint(
        time_unix_nano=time,
        count=len(values),
        sum=values.sum(),
        bucket_counts=counts.tolist(),
        explicit_bounds=BOUNDS,
        **more,
    )
    data = pb.Histogram(data_points=[point], aggregation_temporality=temporality)
    return request(pb.Metric(name="d", unit=unit, histogram=data))


def exponential(values: np.ndarray, time: int, temporality: int, scale: int, **more: object) -> bytes:
    def buckets(magnitudes: np.ndarray) -> pb.ExponentialHistogramDataPoint.Buckets:
        if not len(magnitudes):
            return pb.ExponentialHistogramDataPoint.Buckets()
        index = np.ceil(np.log2(magnitudes) * 2.0**scale).astype(int) - 1
        counts = np.bincount(index - index.min())
        return pb.ExponentialHistogramDataPoint.Buckets(offset=int(index.min()), bucket_counts=counts.tolist())

    point = pb.ExponentialHistogramDataPoint(
        time_unix_nano=time, count=len(values), sum=values.sum(), scale=scale, zero_count=int((values == 0).sum()),
        positive=buckets(values[values > 0]), negative=buckets(-values[values < 0]), **more,
    )  # fmt: skip
    data = pb.ExponentialHistogram(data_points=[point], aggregation_temporality=temporality)
    return request(pb.Metric(name="d", unit="s", exponential_histogram=data))


samples = st.lists(st.floats(1e-3, 9.9), min_size=1, max_size=300).map(np.array)


@settings(max_examples=60, deadline=None)
@given(samples, samples)
def test_explicit_quantiles_lie_in_the_bucket_of_the_true_ones(first: np.ndarray, then: np.ndarray) -> None:
    state = HistogramState()
    told(explicit(first, SECOND, CUMULATIVE), state)
    found = told(explicit(np.concatenate([first, then]), 2 * SECOND, CUMULATIVE), state)
    assert found["d.mean"] == pytest.approx(then.mean(), rel=1e-6)
    for q, name in ((0.5, "d.p50"), (0.99, "d.p99")):
        true = np.quantile(then, q, method="inverted_cdf")
        bucket = int(np.searchsorted(BOUNDS, true))
        assert ([0.0, *BOUNDS][bucket] - 1e-12) <= found[name] <= BOUNDS[bucket] + 1e-12


@settings(max_examples=60, deadline=None)
@given(samples, samples, st.integers(0, 6), st.integers(0, 3), st.booleans())
def test_exponential_quantiles_are_within_a_bucket_of_the_true_ones(
    first: np.ndarray, then: np.ndarray, scale: int, coarser: int, negative: bool
) -> None:
    state, sign = HistogramState(), -1 if negative else 1
    told(exponential(sign * first, SECOND, CUMULATIVE, scale + coarser), state)  # the SDK widens buckets as it goes
    found = told(exponential(sign * np.concatenate([first, then]), 2 * SECOND, CUMULATIVE, scale), state)
    base = 2.0 ** (2.0**-scale)
    for q, name in ((0.5, "d.p50"), (0.99, "d.p99")):
        true = np.quantile(sign * then, q, method="inverted_cdf")
        assert 1 / base * (1 - 1e-9) <= found[name] / true <= base * (1 + 1e-9)


def test_delta_and_cumulative_say_the_same() -> None:
    rng = np.random.default_rng(1)
    parts = [rng.lognormal(-2, 1, 500) for _ in range(3)]
    for make in (explicit, lambda v, t, kind: exponential(v, t, kind, 4)):
        delta, cumulative = HistogramState(), HistogramState()
        for i, part in enumerate(parts):
            one = told(make(part, (i + 1) * SECOND, DELTA), delta)
            other = told(make(np.concatenate(parts[: i + 1]), (i + 1) * SECOND, CUMULATIVE), cumulative)
            if i:
                for name in ("d.p50", "d.p99", "d.mean"):
                    assert other[name] == pytest.approx(one[name], rel=1e-6)
    assert "d.p50" in one and "d.mean" in one


def test_exponential_interpolation_is_that_of_prometheus() -> None:
    """One bucket (1, 4] at scale -1: the median is sqrt(1 * 4), not 2.5; zeros count as zero."""
    assert told(exponential(np.full(10, 3.0), SECOND, DELTA, -1), HistogramState())["d.p50"] == pytest.approx(2.0)
    found = told(exponential(np.array([0.0] * 9 + [3.0]), SECOND, DELTA, 3), HistogramState())
    assert found["d.p50"] == 0.0
    assert found["d.p99"] == pytest.approx(3.0, rel=0.1)


def test_a_restart_counts_from_zero_and_a_reset_of_unknown_time_tells_nothing() -> None:
    state, slow, fast = HistogramState(), np.full(100, 5.0), np.full(10, 0.007)
    told(explicit(slow, 10 * SECOND, CUMULATIVE, start_time_unix_nano=SECOND), state)
    restarted = told(explicit(fast, 20 * SECOND, CUMULATIVE, start_time_unix_nano=15 * SECOND), state)
    assert restarted["d.p50"] == pytest.approx(0.0075)
    told(explicit(np.concatenate([fast, slow]), 30 * SECOND, CUMULATIVE), state)
    fallen = told(explicit(fast, 40 * SECOND, CUMULATIVE), state)
    assert set(fallen) == {"d.count", "d.sum"}
    assert state.tallies["resets"] == 1
    grown = told(explicit(np.concatenate([fast, slow]), 50 * SECOND, CUMULATIVE), state)
    assert 2.5 <= grown["d.p50"] <= 5.0


def test_late_repeated_stale_and_idle_points_tell_no_quantile() -> None:
    state = HistogramState()
    some, more = np.full(3, 0.2), np.full(9, 0.2)
    told(explicit(some, 20 * SECOND, CUMULATIVE), state)
    assert "d.p50" not in told(explicit(more, 20 * SECOND, CUMULATIVE), state)  # the same time
    assert "d.p50" not in told(explicit(some, 10 * SECOND, CUMULATIVE), state)  # an earlier one
    assert state.tallies == {"late": 2, "resets": 0}
    assert "d.p50" not in told(explicit(some, 30 * SECOND, CUMULATIVE), state)  # nothing was measured: absent, not 0
    stale = told(explicit(some, 40 * SECOND, CUMULATIVE, flags=1), state)
    assert set(stale) == {"d.count", "d.sum", "d.mean", "d.p50", "d.p99"}
    assert all(math.isnan(v) for v in stale.values())
    assert "d.p50" not in told(explicit(more, 50 * SECOND, CUMULATIVE), state)  # what was before has ended


def test_min_and_max_bound_the_open_buckets_of_a_delta_point() -> None:
    over = np.full(10, 30.0)
    assert told(explicit(over, SECOND, DELTA), HistogramState())["d.p99"] == 10.0
    assert 10.0 < told(explicit(over, SECOND, DELTA, min=30.0, max=30.0), HistogramState())["d.p99"] <= 30.0
    one = pb.HistogramDataPoint(time_unix_nano=SECOND, count=4, bucket_counts=[4], min=1.0, max=3.0)
    data = pb.Histogram(data_points=[one], aggregation_temporality=DELTA)
    found = told(request(pb.Metric(name="d", histogram=data)), HistogramState())
    assert found == {"d.count": 4.0, "d.p50": 2.0, "d.p99": pytest.approx(2.98)}


def test_milliseconds_become_seconds() -> None:
    found = told(explicit(np.full(4, 0.2), SECOND, DELTA, unit="ms"), HistogramState())
    assert found["d.mean"] == pytest.approx(0.0002)
    assert 0.0001 <= found["d.p50"] <= 0.00025
    assert found["d.count"] == 4


def scrape(time: int, values: np.ndarray, labels: dict[str, str] | None = None, **marks: float) -> list[TimeSeries]:
    """The series that Prometheus sends of a classic histogram."""
    edges = [*map(str, BOUNDS), "+Inf"]
    counts = [float((values <= float(le)).sum()) for le in edges]
    parts = [("d_bucket", {"le": le}, n) for le, n in zip(edges, counts, strict=True)]
    parts += [("d_count", {}, float(len(values))), ("d_sum", {}, float(values.sum()))]
    return [
        TimeSeries(
            labels=[
                Label(name=k, value=v).SerializeToString()
                for k, v in sorted({"__name__": name, "job": "api", **(labels or {}), **own}.items())
            ],
            samples=[Sample(value=marks.get("value", n), timestamp=time)],
        )
        for name, own, n in parts
    ]


def written(*series: TimeSeries) -> bytes:
    return decode_write_request(WriteRequest(timeseries=series).SerializeToString()).requests["api"]


def test_buckets_of_prometheus_become_quantiles_and_are_no_signals() -> None:
    rng, state = np.random.default_rng(2), HistogramState()
    first, then = rng.lognormal(-2, 1, 200), rng.lognormal(-1, 1, 300)
    assert set(told(written(*scrape(15_000, first)), state)) == {"d_count", "d_sum"}
    found = told(written(*scrape(30_000, np.concatenate([first, then]))), state)
    assert set(found) == {"d_count", "d_sum", "d.mean", "d.p50", "d.p99"}
    same = told(explicit(then, SECOND, DELTA), HistogramState())
    for name in ("d.mean", "d.p50", "d.p99"):
        assert found[name] == pytest.approx(same[name])


def test_buckets_that_come_in_shards_and_out_of_step_are_put_together() -> None:
    rng, state = np.random.default_rng(3), HistogramState()
    values = [rng.lognormal(-2, 1, 100 * (i + 1)) for i in range(6)]
    for i in range(1, 6):
        values[i] = np.concatenate([values[i - 1], values[i]])
    scrapes = [scrape(15_000 * (i + 1), v) for i, v in enumerate(values)]
    ahead = [written(*s[::2]) for s in scrapes]
    behind = [written(*s[1::2]) for s in scrapes]
    found = []
    for i, message in enumerate(ahead):
        found.append(told(message, state))
        if i >= 2:
            found.append(told(behind[i - 2], state))
    with_quantiles = [f for f in found if "d.p50" in f]
    assert len(with_quantiles) >= 2
    assert not any("bucket" in name for f in found for name in f)


def test_a_bucket_that_vanishes_does_not_silence_the_histogram() -> None:
    state, rng = HistogramState(), np.random.default_rng(4)
    values = rng.lognormal(-2, 1, 50)
    seen = []
    for i in range(30):
        values = np.concatenate([values, rng.lognormal(-2, 1, 50)])
        series = scrape(15_000 * (i + 1), values)
        seen.append("d.p50" in told(written(*(series if i < 5 else series[1:])), state))
    assert seen[1:5] == [True] * 4
    assert all(seen[-5:])


def test_a_target_that_ends_ends_its_quantiles() -> None:
    state, values = HistogramState(), np.full(100, 0.2)
    told(written(*scrape(15_000, values)), state)
    assert "d.p50" in told(written(*scrape(30_000, np.concatenate([values, values]))), state)
    ended = told(written(*scrape(45_000, values, value=STALE)), state)
    assert math.isnan(ended["d.p50"])
    assert math.isnan(ended["d_count"])
    again = [told(written(*scrape(60_000 + 15_000 * i, np.full(100 * (i + 1), 0.2))), state) for i in range(3)]
    assert ["d.p50" in a for a in again] == [False, True, True]


def test_buckets_are_counters_of_a_histogram_only_with_a_bound() -> None:
    point = pb.NumberDataPoint(time_unix_nano=SECOND, as_double=3)
    total = pb.Sum(data_points=[point], aggregation_temporality=CUMULATIVE, is_monotonic=True)
    batch = decode_metrics(request(pb.Metric(name="leaky_bucket", sum=total)), HistogramState())
    assert [(s.signal, s.kind) for s in batch.series] == [("leaky_bucket", Kind.CUMULATIVE)]


def many(names: Iterable[int], time: int) -> bytes:
    """Histograms that have counted 1 below their bound, and above it the seconds of their time and one more."""
    made = ExportMetricsServiceRequest()
    points = []
    for i in names:
        point = pb.HistogramDataPoint(
            time_unix_nano=time,
            count=2 + time // SECOND,
            bucket_counts=[1, 1 + time // SECOND],
            explicit_bounds=[1.0],
        )
        point.attributes.add(key="path").value.int_value = i
        points.append(point)
    data = pb.Histogram(data_points=points, aggregation_temporality=CUMULATIVE)
    made.resource_metrics.add().scope_metrics.add().metrics.append(pb.Metric(name="d", histogram=data))
    return made.SerializeToString()


def test_what_comes_and_goes_takes_no_more_room_and_what_stays_keeps_its_buckets() -> None:
    small, large = HistogramState(most=200), HistogramState()
    rooms = []
    for step in range(1, 30):
        names = [*range(10), *range(100 * step, 100 * step + 60)]  # ten stay, the others are new
        payload = many(names, 1900 * SECOND * step)
        found, wanted = told(payload, small), told(payload, large)
        assert found == pytest.approx(wanted, nan_ok=True)
        rooms.append(small._last.used)
    assert small.refused == 0
    assert sum("p50" in name for name in found) == 10
    assert max(rooms[5:]) == max(rooms[:5])


def test_more_histograms_than_there_is_room_for_are_refused_and_old_ones_make_room() -> None:
    state = HistogramState(most=100)
    decode_metrics(many(range(80), SECOND), state)
    decode_metrics(many(range(80, 160), 2 * SECOND), state)
    assert state.refused == 60
    later = 2 * 3600 * SECOND
    decode_metrics(many(range(200, 280), later), state)
    assert state.refused == 60
    assert sum("p50" in name for name in told(many(range(200, 280), later + SECOND), state)) == 80


def test_more_classic_histograms_than_there_is_room_for_are_refused_and_old_ones_make_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(classic_histograms, "_MOST_FAMILIES", 2)
    state = HistogramState()

    def quantiles(pod: str, start: int) -> list[bool]:
        """Whether there is one, in each of three scrapes."""
        scrapes = [scrape(start + 15_000 * i, np.full(100 * i, 0.2), {"pod": pod}) for i in range(1, 4)]
        return [any(".p50" in name for name in told(written(*series), state)) for series in scrapes]

    assert [quantiles(pod, 0) for pod in ("a", "b")] == [[False, True, True]] * 2
    assert quantiles("c", 0) == [False, False, False]
    assert state.refused == 3
    for day in range(1, 6):  # each day other pods
        assert [quantiles(f"{pod}-{day}", 86_400_000 * day) for pod in "ab"] == [[False, True, True]] * 2
    assert quantiles("c", 86_400_000 * 6) == [False, True, True]
    assert quantiles("a", 86_400_000 * 6) == [False, True, True]  # it begins anew, with its own buckets
    assert state.refused == 3


@pytest.mark.parametrize("decode", [decode_metrics, decode_metrics_reference])
def test_a_stream_read_again_says_the_same_again(decode: object) -> None:
    rng = np.random.default_rng(5)
    values, messages = np.empty(0), []
    for i in range(5):
        values = np.concatenate([values, rng.lognormal(-2, 1, 50)])
        messages += [explicit(values, (i + 1) * SECOND, CUMULATIVE), written(*scrape(1000 * (i + 1), values))]
    runs = []
    for _ in range(2):
        state = HistogramState()
        runs.append([sorted(decode(m, state).values.tolist()) for m in messages])  # type: ignore[operator]
    assert runs[0] == runs[1]
