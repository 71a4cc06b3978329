"""The converters on Nezha's real data, where it is present, and on small tables of its form."""

import json
import os
import re
import tarfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from forewarn.telemetry.converters import CONVERTERS
from forewarn.telemetry.recording import Recording, read_recording, write_recording
from forewarn.telemetry.recording_errors import RecordingError
from forewarn.telemetry.samples import Series

HEAD = "Time,TimeStamp,PodName,CpuUsage(m),MemoryUsage(Mi),MemoryUsageRate(%),SyscallRead,PodServerLatencyP99(s)"


def nezha_data() -> Path:
    folder = Path(os.environ.get("FOREWARN_DATA", "nowhere")) / "nezha"
    if not folder.is_dir():
        pytest.skip("FOREWARN_DATA names no folder with nezha/: the real data set is not here")
    return folder


def small_day(root: Path) -> Path:
    day = root / "rca_data" / "2023-01-30"
    for part in ("metric", "log", "trace"):
        (day / part).mkdir(parents=True)
    rows = [
        "2023-01-30 11:40:54.134 +0000 UTC m=+61.3,1875078854,a-svc-5b-x1,8.5,250,50,3,",
        "2023-01-30 11:39:54.088933861 +0000 UTC m=+1.2,1875078794,a-svc-5b-x1,10.5,200,40,0,0.5",
    ]
    (day / "metric/a-svc-5b-x1_metric.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    (day / "metric/b-svc-5b-x2_metric.csv").write_text("\n".join([HEAD, *rows]).replace("a-svc", "b-svc") + "\n")
    spans = [
        "TraceID,SpanID,ParentID,PodName,OperationName,StartTimeUnixNano,EndTimeUnixNano,Duration",
        f"{'ab' * 16},{'01' * 8},root,a-svc-5b-x1,/*,1675078742856000000,1675078742956000000,100000",
        f"{'ab' * 16},{'02' * 8},{'01' * 8},a-svc-5b-x1,HTTP GET,1675078742857000000,1675078742900000000,43000",
        f"{'ab' * 16},{'03' * 8},{'02' * 8},b-svc-5b-x2,/b,1675078742858000000,1675078742899000000,41000",
    ]
    for minute in ("11_39", "11_40"):  # the same spans in two files, as at the published minutes' edges
        (day / f"trace/{minute}_trace.csv").write_text("\n".join(spans) + "\n")
    line = json.dumps({"log": "19:39:03 ERROR boom\n", "stream": "stdout"}).replace('"', '""')
    logs = [
        "Timestamp,TimeUnixNano,Node,PodName,Container,TraceID,SpanID,Log",
        f'2023-01-30T11:39:03.090,-6795364578871345152,1.2.3.4,a-svc-5b-x1,server,{"ab" * 16},{"01" * 8},"{line}"',
    ]
    (day / "log/11_39_log.csv").write_text("\n".join(logs) + "\n")
    fault = {"inject_timestamp": "1675079506", "inject_pod": "b-svc-5b-x2", "inject_type": "network_delay"}
    (day / "2023-01-30-fault_list.json").write_text(json.dumps({"11": [fault]}))
    return day


def test_names_units_times_and_limits_of_a_small_day(tmp_path: Path) -> None:
    small_day(tmp_path)
    with tarfile.open(tmp_path / "day.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "rca_data", "rca_data")
    found = CONVERTERS["nezha"](tmp_path / "day.tar.xz")
    batch = found.metrics
    memory = batch.index == batch.series.index(Series("a-svc", "container.memory.usage", unit="By"))
    assert batch.values[memory].tolist() == [200 * 2**20, 250 * 2**20]
    first = datetime(2023, 1, 30, 11, 39, 54, 88933, UTC).timestamp()  # column Time, not TimeStamp
    assert batch.times[memory][0] / 1e9 == pytest.approx(first, abs=1e-3)
    assert Series("a-svc", "process.syscall.rate", (("syscall", "read"),), unit="{call}/s") in batch.series
    latency = batch.index == batch.series.index(Series("b-svc", "http.server.request.duration.p99", unit="s"))
    assert batch.values[latency].tolist() == [0.5]  # an empty cell is no sample
    assert {(x.series.entity, x.value) for x in found.limits} == {("a-svc", 500 * 2**20), ("b-svc", 500 * 2**20)}
    assert any("TimeStamp disagrees" in note for note in found.notes)
    assert (found.failures[0].entity, found.failures[0].mode) == ("b-svc", "network_delay")


def test_logs_and_spans_of_a_small_day(tmp_path: Path) -> None:
    small_day(tmp_path)
    found = CONVERTERS["nezha"](tmp_path)
    assert found.logs is not None and found.spans is not None
    assert (found.logs.severities, found.logs.bodies) == (["ERROR"], ["19:39:03 ERROR boom"])
    assert found.logs.times[0] == int(datetime(2023, 1, 30, 11, 39, 3, tzinfo=UTC).timestamp()) * 10**9 + 90_000_000
    assert found.spans.kinds.tolist() == ["server", "client", "server"]
    assert found.spans.parent_span_ids.tolist() == [b"", b"01" * 8, b"02" * 8]
    assert found.spans.durations.tolist() == pytest.approx([0.1, 0.043, 0.041])
    assert found.topology == (("a-svc", "b-svc"),)


def test_what_is_not_nezhas_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.tar.xz").write_bytes(b"no archive")
    for source, reason in ((tmp_path, "not a data set of Nezha"), (tmp_path / "x.tar.xz", "no tar archive")):
        with pytest.raises(RecordingError, match=reason):
            CONVERTERS["nezha"](source)
    with pytest.raises(RecordingError, match="does not exist"):
        CONVERTERS["nezha"](tmp_path / "nowhere")


def test_a_slice_of_the_real_train_ticket_becomes_a_recording(tmp_path: Path) -> None:
    with tarfile.open(nezha_data() / "trainticket_2023-01-30.tar.xz") as archive:
        wanted = re.compile(r"rca_data/.*(/log/12_0|/trace/12_0|/metric/(ts-(order|preserve|seat)-|front)|fault_list)")
        archive.extractall(tmp_path, [m for m in archive.getmembers() if wanted.search(m.name)], filter="data")
    found = CONVERTERS["nezha"](tmp_path)
    assert found.span_ns[0] / 1e9 > datetime(2023, 1, 30, tzinfo=UTC).timestamp()
    assert found.span_ns[1] / 1e9 < datetime(2023, 1, 31, tzinfo=UTC).timestamp()
    assert len(found.metrics) > 50_000 and len(found.failures) == 17
    assert found.logs is not None and len(found.logs) > 8_000
    assert Counter(found.logs.severities)["ERROR"] > 10  # those whose own time is wrong in the source
    assert found.spans is not None and Counter(found.spans.kinds)["client"] > 1_000
    assert ("ts-preserve-service", "ts-order-service") in found.topology
    assert {limit.value for limit in found.limits} == {2000 * 2**20}
    assert any("SuccessRate(%) is 0 throughout" in note for note in found.notes)
    write_recording(tmp_path / "tt", found)
    assert_same_metrics(read_recording(tmp_path / "tt", strict=True), found)


def test_the_real_online_boutique_has_no_time_from_the_future(tmp_path: Path) -> None:
    found = CONVERTERS["nezha"](nezha_data() / "onlineboutique_2022-08-22_metrics.tar.xz")
    assert found.span_ns[1] / 1e9 < datetime(2022, 8, 23, tzinfo=UTC).timestamp()
    assert ("frontend", "cartservice") in found.topology
    assert not [client for client, _ in found.topology if client[0].isdigit()]
    assert "adservice" not in {limit.series.entity for limit in found.limits}
    write_recording(tmp_path / "ob", found)
    assert_same_metrics(read_recording(tmp_path / "ob", strict=True), found)


def assert_same_metrics(found: Recording, written: Recording) -> None:
    """The same samples; times to the microsecond, and of one time in any order."""

    def rows(recording: Recording) -> dict[str, list[tuple[int, float]]]:
        batch = recording.metrics
        order = np.lexsort((batch.times, batch.index))
        cuts = np.flatnonzero(np.diff(batch.index[order])) + 1
        parts = np.split(order, cuts)
        return {
            batch.series[batch.index[p[0]]].id: list(
                zip((batch.times[p] // 1000).tolist(), batch.values[p].tolist(), strict=True)
            )
            for p in parts
        }

    assert rows(found) == rows(written)
