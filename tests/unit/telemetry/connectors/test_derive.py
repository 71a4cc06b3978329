"""A recording in one go tells what the stream would, and nothing of the future."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forewarn.telemetry.connectors.derive import derive
from forewarn.telemetry.connectors.options import Options
from forewarn.telemetry.recording import Logs, Recording, Spans
from forewarn.telemetry.samples import SampleBatch

START = 1_700_000_000 * 10**9
NOTHING = SampleBatch((), np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0))


def recording(seconds: int) -> Recording:
    """A line a second, by two entities, and a span each two seconds."""
    times = START + np.arange(seconds, dtype=np.int64) * 10**9
    texts = [f"request {k} took {k % 7} ms" for k in range(seconds)]
    blank = [""] * seconds
    logs = Logs(("a", "b"), np.arange(seconds, dtype=np.int32) % 2, times, ["INFO"] * seconds, texts, blank, blank, [])
    n = len(times[::2])
    ids = np.array([b"0"] * n)
    kinds, names = np.array(["server"] * n, object), np.array(["GET /"] * n, object)
    errors = np.arange(n) % 5 == 0
    spans = Spans(("a",), np.zeros(n, np.int32), times[::2], np.full(n, 0.5), ids, ids, ids, names, kinds, errors)
    return Recording("r", NOTHING, logs, spans)


def table(batch: SampleBatch) -> dict[tuple[str, int], float]:
    return {
        (batch.series[i].id, int(t)): float(v)
        for i, t, v in zip(batch.index, batch.times, batch.values, strict=True)
    }  # fmt: skip


def test_rates_and_durations_of_a_recording() -> None:
    batch = derive(recording(1200))
    found = table(batch)
    assert np.all(np.diff(batch.times) >= 0)
    rates = {v for (name, _), v in found.items() if name == "a|log.records.rate"}
    assert rates == {0.5}
    assert {v for (name, _), v in found.items() if name == "a|traces.service.calls.rate"} == {0.5}
    medians = {v for (name, _), v in found.items() if name == "a|traces.service.duration.p50"}
    assert medians and all(v == pytest.approx(0.5, rel=0.01) for v in medians)


def test_the_future_changes_no_sample_of_the_past() -> None:
    short, long = derive(recording(1200)), derive(recording(2400))
    last = int(short.times[-1])
    before = {key: value for key, value in table(long).items() if key[1] <= last}
    assert before == table(short)


def test_a_recording_without_logs_and_spans_has_none() -> None:
    assert len(derive(replace(recording(10), logs=None, spans=None))) == 0


def test_a_real_run_to_failure_shows_in_its_logs() -> None:
    from forewarn.telemetry.recording import read_recording

    folder = os.environ.get("FOREWARN_DATA")
    runs = sorted(Path(folder).glob("realruns/*/logs.jsonl")) if folder else []
    if not runs:
        pytest.skip("FOREWARN_DATA names no folder with realruns/")
    run = read_recording(runs[0].parent)
    batch = derive(run, Options(learning=0))
    assert run.logs is not None
    signals = {s.signal for s in batch.series}
    assert {"log.records.rate", "log.template.rate", "log.templates.new"} <= signals
    rate = np.isin(batch.index, [i for i, s in enumerate(batch.series) if s.signal == "log.records.rate"])
    assert batch.values[rate].sum() * 10 == pytest.approx(len(run.logs))
