"""Recordings survive being written and read; bad ones say what is wrong and where."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forewarn.telemetry.recording import Failure, Limit, Logs, Recording, Spans, read_recording, write_recording
from forewarn.telemetry.recording_errors import RecordingError
from forewarn.telemetry.recording_parquet import kind_of
from forewarn.telemetry.samples import Kind, SampleBatch, Series

START = int(datetime(2026, 1, 5, 10, tzinfo=UTC).timestamp()) * 10**9
MEMORY = Series("api", "process.memory.usage", unit="By")
REQUESTS = Series("api", "http.server.request.count", (("http.route", "/pay ü"),), Kind.CUMULATIVE, "{request}")


def whole_recording() -> Recording:
    """Every part that a recording can have."""
    return Recording(
        name="whole",
        metrics=SampleBatch(
            (MEMORY, REQUESTS),
            np.array([0, 1, 0, 1], np.int32),
            START + 1_000_000_000 * np.array([0, 0, 1, 1]),
            np.array([1.5, 10.0, 0.1 + 0.2, 12.0]),
        ),
        logs=Logs(
            ("api", "db"),
            np.array([0, 1], np.int32),
            START + np.array([0, 1_000_001_000]),
            ["INFO", ""],
            ["GET /pay 200", 'line\nbreak "ü"'],
            ["ab" * 16, ""],
            ["cd" * 8, ""],
            [{"k": "v"}, {}],
        ),
        spans=Spans(
            ("api",),
            np.zeros(2, np.int32),
            START + np.array([0, 5_000]),
            np.array([0.25, 0.0]),
            np.array([b"ab" * 16] * 2),
            np.array([b"cd" * 8, b"ef" * 8]),
            np.array([b"", b"cd" * 8]),
            np.array(["GET", "SELECT"], object),
            np.array(["server", "client"], object),
            np.array([False, True]),
        ),
        limits=(Limit(MEMORY, 100.0),),
        topology=(("client", "api"),),
        failures=(Failure("api", "memory_exhaustion", datetime(2026, 1, 5, 11, tzinfo=UTC), "api", MEMORY.signal),),
        meta={"seed": 3, "note": "ü"},
    )


def frame() -> pd.DataFrame:
    times = pd.to_datetime(["2026-01-05T10:00:00Z", "2026-01-05T10:00:01Z", "2026-01-05T10:00:02Z"])
    return pd.DataFrame(
        {"timestamp": times.as_unit("ms"), "entity": "api", "signal": "m", "value": [1.0, 2.0, 3.0], "unit": "By"}
    )


def folder_with(tmp_path: Path, telemetry: pd.DataFrame, **files: str) -> Path:
    telemetry.to_parquet(tmp_path / "telemetry.parquet")
    for name, text in files.items():
        (tmp_path / name.replace("_", ".")).write_text(text)
    return tmp_path


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = whole_recording()
    write_recording(tmp_path / "whole", written)
    found = read_recording(tmp_path / "whole", strict=True)
    for name in ("name", "limits", "topology", "failures", "meta", "notes", "entities", "span_ns"):
        assert getattr(found, name) == getattr(written, name), name
    assert found.metrics.series == written.metrics.series
    assert found.logs is not None and written.logs is not None and found.spans is not None
    for part, other in ((found.metrics, written.metrics), (found.logs, written.logs), (found.spans, written.spans)):
        for field in type(part).__dataclass_fields__:
            assert np.array_equal(getattr(part, field), getattr(other, field)), field


def test_a_folder_that_is_taken_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(RecordingError, match="not an empty folder"):
        write_recording(tmp_path, whole_recording())


def test_columns_beyond_the_needed_ones_may_be_missing(tmp_path: Path) -> None:
    found = read_recording(folder_with(tmp_path, frame().drop(columns="unit")))
    assert found.metrics.series == (Series("api", "m"),)
    assert (found.logs, found.spans, found.limits, found.meta) == (None, None, (), {})


def test_counters_are_known_by_their_name_or_by_the_column_kind(tmp_path: Path) -> None:
    assert kind_of("http.server.request.count", "{request}") is Kind.CUMULATIVE
    assert kind_of("process.thread.count", "{thread}") is Kind.GAUGE
    assert kind_of("http.client.request.timeouts", "{request}/s") is Kind.GAUGE
    assert read_recording(folder_with(tmp_path, frame().assign(kind="delta"))).metrics.series[0].kind is Kind.DELTA


def test_rows_out_of_order_are_sorted_and_told(tmp_path: Path) -> None:
    path = folder_with(tmp_path, frame().iloc[[2, 0, 1]])
    found = read_recording(path)
    assert found.metrics.values.tolist() == [1.0, 2.0, 3.0]
    assert "not in the order of time (first at row 1" in found.notes[0]
    with pytest.raises(RecordingError, match="not in the order of time"):
        read_recording(path, strict=True)


def test_of_duplicates_the_last_one_counts_and_is_told(tmp_path: Path) -> None:
    twice = pd.concat([frame(), frame().iloc[[1]].assign(value=9.0)]).sort_values("timestamp", kind="stable")
    path = folder_with(tmp_path, twice)
    found = read_recording(path)
    assert found.metrics.values.tolist() == [1.0, 9.0, 3.0]
    assert "1 samples come twice (first: api|m at 2026-01-05 10:00:01" in found.notes[0]
    with pytest.raises(RecordingError, match="come twice"):
        read_recording(path, strict=True)


def test_a_limit_of_a_stranger_is_told(tmp_path: Path) -> None:
    path = folder_with(tmp_path, frame(), limits_csv="entity,signal,limit\nother,m,3\napi,m,5\n")
    found = read_recording(path)
    assert found.notes == ("limits.csv: no telemetry of other",)
    assert found.limits[1] == Limit(Series("api", "m", unit="By"), 5.0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.drop(columns="value"), r"telemetry.parquet has no column value; it has timestamp, entity"),
        (lambda t: t.iloc[:0], "is empty"),
        (
            lambda t: t.assign(value=[1.0, np.nan, 2.0]),
            r"row 1 \(api m\): value is nan \(1 such rows\); leave",
        ),
        (lambda t: t.assign(value=[1.0, 2.0, np.inf]), r"row 2 \(api m\): value is inf"),
        (lambda t: t.assign(value="x"), "column value has type .*string; it must be a number"),
        (lambda t: t.assign(timestamp=t.timestamp.dt.tz_localize(None)), "has no time zone.*tz_localize"),
        (lambda t: t.assign(timestamp=[1, 2, 3]), "timestamp has type int64; it must be a timestamp"),
        (lambda t: t.assign(timestamp=[pd.NaT, *t.timestamp[1:]]), "row 0: timestamp is missing"),
        (lambda t: t.assign(entity=["api", None, "api"]), "row 1: entity is missing"),
        (lambda t: t.assign(entity=["api", "", "api"]), "empty entity"),
        (lambda t: t.assign(attributes="{a: 1"), "are not a JSON object"),
        (lambda t: t.assign(kind="sum"), "kind of m is 'sum'; it must be gauge, cumulative or delta"),
    ],
)
def test_bad_telemetry_says_what_and_where(tmp_path: Path, change: object, reason: str) -> None:
    assert callable(change)
    with pytest.raises(RecordingError, match=reason):
        read_recording(folder_with(tmp_path, change(frame())))


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("logs_jsonl", '{"timestamp":"2026-01-05T10:00:00Z","entity":"a","severity":"INFO"}\n', "line 1: .*`body`"),
        (
            "logs_jsonl",
            '\n{"timestamp":"2026-01-05T10:00:00","entity":"a","severity":"","body":""}',
            "2: .*timezone",
        ),
        ("logs_jsonl", "not json\n", "logs.jsonl, line 1"),
        ("limits_csv", "entity,limit\napi,1\n", "no column signal; its first line must be entity,signal,limit"),
        ("limits_csv", "entity,signal,limit\napi,m,many\n", "line 2: limit is 'many'"),
        ("limits_csv", "entity,signal,limit\napi,,3\n", "line 2: signal is empty"),
        ("topology_csv", "a,b\nx,y\n", "no column entity, depends_on"),
        ("failures_csv", "entity,mode,first_failure_at\napi,x,soon\n", "line 2: 'soon' is not a time"),
        ("failures_csv", "entity,mode,first_failure_at\napi,x,2026-01-05T10:00:00\n", "line 2: .*no time zone"),
        ("meta_json", "{", "meta.json is not JSON"),
        ("meta_json", "[1]", "must hold a JSON object"),
    ],
)
def test_bad_text_files_say_what_and_where(tmp_path: Path, file: str, text: str, reason: str) -> None:
    with pytest.raises(RecordingError, match=reason):
        read_recording(folder_with(tmp_path, frame(), **{file: text}))


def test_bad_spans_say_what_and_where(tmp_path: Path) -> None:
    write_recording(tmp_path / "w", whole_recording())
    path = tmp_path / "w" / "spans.parquet"
    good = pd.read_parquet(path)
    cases = {
        "row 0: trace_id is 12; it must be 32 hexadecimal": good.assign(trace_id="12"),
        "kind 'ear' is none of internal": good.assign(kind="ear"),
        "row 1: duration_seconds is -1": good.assign(duration_seconds=[0.0, -1.0]),
    }
    for reason, table in cases.items():
        table.to_parquet(path)
        with pytest.raises(RecordingError, match=reason):
            read_recording(tmp_path / "w")


def test_what_is_no_recording_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="does not exist"):
        read_recording(tmp_path / "nowhere")
    with pytest.raises(RecordingError, match=r"has no telemetry\.parquet"):
        read_recording(tmp_path)
    write_recording(tmp_path / "run", whole_recording())
    with pytest.raises(RecordingError, match="Did you mean one of the recordings in it: run"):
        read_recording(tmp_path)
    (tmp_path / "run" / "telemetry.parquet").write_bytes(b"PAR1 garbage")
    with pytest.raises(RecordingError, match="cannot be read as Parquet"):
        read_recording(tmp_path / "run")


def test_meta_that_is_written_is_plain_json(tmp_path: Path) -> None:
    write_recording(tmp_path / "w", whole_recording())
    assert json.loads((tmp_path / "w" / "meta.json").read_text()) == {"seed": 3, "note": "ü"}
