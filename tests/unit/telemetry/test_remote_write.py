"""Remote write, compiled: equal to the protobuf library's way, byte by byte, for whatever comes."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.telemetry import remote_write
from forewarn.telemetry.errors import TelemetryError
from forewarn.telemetry.proto.prometheus_remote_write_pb2 import Label, Sample, TimeSeries, WriteRequest
from forewarn.telemetry.remote_write import Written, decode_write_request, decode_write_request_reference

_STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
_NAMES = st.sampled_from(["__name__", "job", "instance", "namespace", "le", "é", "x" * 200])
_TEXTS = st.sampled_from(["up", "http_requests_total", "a/b", "10.0.0.1:9100", "", "ü", "v" * 300]) | st.text(
    max_size=5
)
_VALUES = st.floats() | st.just(_STALE) | st.just(float("nan"))
_TIMES = st.integers(1, 2**43) | st.sampled_from([-1, 0, 1, 2**63 // 10**6 - 1, 2**63 // 10**6, 2**63 - 1])


def _series(labels: dict[str, str], samples: list[tuple[int, float]], histograms: int = 0) -> TimeSeries:
    return TimeSeries(
        labels=[Label(name=name, value=value).SerializeToString() for name, value in labels.items()],
        samples=[Sample(timestamp=at, value=value) for at, value in samples],
        histograms=[b"\x10\x01"] * histograms,
    )


def _told(decode: object, body: bytes) -> Written | str:
    try:
        return decode(body)  # type: ignore[operator, no-any-return]
    except TelemetryError as error:
        return str(error)


def _same(body: bytes) -> Written | str:
    compiled = _told(decode_write_request, body)
    assert compiled == _told(decode_write_request_reference, body)
    if isinstance(compiled, Written):
        assert list(compiled.requests) == list(_told(decode_write_request_reference, body).requests)  # type: ignore[union-attr]
    return compiled


def _request(series: int = 30) -> bytes:
    """What Prometheus sends: several jobs in turn, counters and gauges, stale series and native histograms."""
    request = WriteRequest()
    for i in range(series):
        labels = {"__name__": f"m{i}_total" if i % 2 else f"m{i}", "instance": "10.0.0.1:9100", "job": f"eu/{i % 3}"}
        values = [(1_700_000_000_000 + k, _STALE if k == i else 1.5 * k) for k in range(i % 4)]
        request.timeseries.append(_series({**labels, "long": "x" * (40 * i)}, values, i % 2))
    return request.SerializeToString()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.builds(
            _series,
            st.dictionaries(_NAMES, _TEXTS, max_size=5).map(lambda labels: {"__name__": "n", **labels}),
            st.lists(st.tuples(_TIMES, _VALUES), max_size=4),
            st.integers(0, 2),
        ),
        max_size=6,
    )
)
def test_any_request_is_decoded_as_by_the_library(series: list[TimeSeries]) -> None:
    _same(WriteRequest(timeseries=series).SerializeToString())


def test_a_request_of_many_jobs() -> None:
    written = _same(_request())
    assert isinstance(written, Written)
    assert list(written.requests) == ["eu/1", "eu/2", "eu/0"]
    assert written.samples == sum(i % 4 for i in range(30))
    assert written.histograms == 15


def test_truncated_and_flipped_requests_are_judged_alike() -> None:
    body = _request(9)
    refused = sum(isinstance(_same(body[:length]), str) for length in range(0, len(body), 7))
    assert refused > len(body) // 14
    for position in range(0, len(body), 5):
        for bit in (0, 3, 7):
            flipped = bytearray(body)
            flipped[position] ^= 1 << bit
            _same(bytes(flipped))


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_write, "_memory", remote_write._Memory())
    monkeypatch.setattr(remote_write, "_SERIES_KEPT", 2000)
    for block in range(7):  # the table grows, and is emptied
        request = WriteRequest()
        for i in range(900):
            labels = {"__name__": f"m{i}", "job": f"job-{block}"}
            request.timeseries.append(_series(labels, [(1_700_000_000_000 + i, float(i))]))
        _same(request.SerializeToString())
        _same(_request())
    assert remote_write._memory._known <= 2000


@pytest.mark.parametrize("label", ["job", "path"])
def test_the_memory_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch, label: str) -> None:
    memory = remote_write._Memory()
    monkeypatch.setattr(remote_write, "_memory", memory)
    monkeypatch.setattr(remote_write, "_BYTES_KEPT", 100_000)
    for number in range(60):
        labels = {"__name__": "m", label: f"{number}-" + "x" * 5000}
        _same(WriteRequest(timeseries=[_series(labels, [(1_700_000_000_000, 1.0)])]).SerializeToString())
    assert len(memory._pool) + sum(len(resource) for _, resource in memory._groups) < 300_000
    assert memory._known < 30
