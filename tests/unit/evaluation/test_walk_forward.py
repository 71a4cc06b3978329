"""A backtest tells what fails ahead, is silent on look-alikes, and writes what it found."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from forewarn.cli.backtest import app
from forewarn.evaluation.walk_forward.baselines import predict_linear
from forewarn.evaluation.walk_forward.outcome import outcome
from forewarn.evaluation.walk_forward.pages import Page
from forewarn.evaluation.walk_forward.report import as_json, backtest_folder, backtest_recording
from forewarn.evaluation.walk_forward.walk import usual_step
from forewarn.risk.catalogue import failure_mode
from forewarn.risk.scorer import TrendScorer
from forewarn.telemetry.recording import Failure, Limit, Recording, write_recording
from forewarn.telemetry.samples import Kind, SampleBatch, Series

START = 1_700_000_000
USAGE = Series("api", "process.memory.usage", unit="By")
LIMIT = 1e9
STEPS = 600


def recording(values: np.ndarray, failed_at: int | None = None) -> Recording:
    """One sample a second; NaN leaves a second out."""
    there = np.flatnonzero(np.isfinite(values))
    batch = SampleBatch((USAGE,), np.zeros(len(there), np.int32), (START + there) * 10**9, values[there])
    failures = ()
    if failed_at is not None:
        at = datetime.fromtimestamp(START + failed_at, UTC)
        failures = (Failure("api", "memory_exhaustion", at, "api", USAGE.signal),)
    return Recording("made", batch, limits=(Limit(USAGE, LIMIT),), failures=failures)


def noise(scale: float = 3e6) -> np.ndarray:
    return np.random.default_rng(3).normal(0, scale, STEPS)


def leak() -> np.ndarray:
    return np.minimum(2e8 + 1.6e6 * np.arange(STEPS), LIMIT) + noise() * (np.arange(STEPS) < 500)


def sawtooth_under_leak() -> np.ndarray:
    t = np.arange(STEPS)
    return np.minimum(2e8 + 1.4e6 * t + 2.5e6 * (t % 40), LIMIT)


def sawtooth() -> np.ndarray:
    return 3e8 + 4e6 * (np.arange(STEPS) % 120) + noise()


def plateau() -> np.ndarray:
    return 2e8 + 6e8 * (1 - np.exp(-np.arange(STEPS) / 90)) + noise()


def gap() -> np.ndarray:
    values = 6e8 + noise()
    values[200:320] = np.nan
    return values


def shift() -> np.ndarray:
    return np.where(np.arange(STEPS) < 300, 4e8, 7.5e8) + noise()


def spike() -> np.ndarray:
    t = np.arange(STEPS)
    return 4.5e8 + 3.5e8 * np.clip((t - 250) / 25, 0, 1) * (t < 300) + noise()


@pytest.mark.parametrize(("make", "failed_at", "error"), [(leak, 500, 0.4), (sawtooth_under_leak, 500, 0.7)])
def test_a_leak_is_told_ahead(make: Callable[[], np.ndarray], failed_at: int, error: float, tmp_path: Path) -> None:
    write_recording(tmp_path / "run", recording(make(), failed_at))
    result = backtest_recording(tmp_path / "run", TrendScorer()).outcomes["model"]
    assert result.predicted
    assert result.lead > 150
    assert result.eta_error < error
    assert result.cause_rank == 1


@pytest.mark.parametrize("make", [sawtooth, plateau, gap, shift, spike])
def test_a_look_alike_is_not_told(make: Callable[[], np.ndarray], tmp_path: Path) -> None:
    write_recording(tmp_path / "run", recording(make()))
    assert backtest_recording(tmp_path / "run", TrendScorer()).pages == []


def test_labels_do_not_reach_the_engine(tmp_path: Path) -> None:
    write_recording(tmp_path / "labelled", recording(leak(), 500))
    write_recording(tmp_path / "plain", recording(leak()))
    labelled, plain = backtest_folder(tmp_path, TrendScorer())
    assert labelled.pages == plain.pages
    assert plain.outcomes["model"].pages == len(plain.pages) > 0


def test_a_counter_without_a_rate_yet_does_no_harm(tmp_path: Path) -> None:
    count = Series("api", "http.server.request.count", kind=Kind.CUMULATIVE)
    own = recording(leak(), 500)
    m = own.metrics
    times = np.concatenate([m.times[:1], m.times])
    index = np.concatenate([[1], m.index]).astype(np.int32)
    batch = SampleBatch((USAGE, count), index, times, np.concatenate([[5.0], m.values]))
    write_recording(tmp_path / "run", Recording("made", batch, limits=own.limits, failures=own.failures))
    assert backtest_recording(tmp_path / "run", TrendScorer()).outcomes["model"].predicted


def test_step_and_baseline() -> None:
    assert usual_step(recording(leak()).metrics) == 1
    left = predict_linear(np.linspace(0.2, 0.8, 400))
    assert left[399] == pytest.approx(0.2 / (0.6 / 399), rel=0.01)
    assert np.isinf(predict_linear(np.full(100, 0.5) - 1e-4 * np.arange(100))).all()


def test_the_command_writes_json_and_pictures(tmp_path: Path) -> None:
    write_recording(tmp_path / "in" / "a", recording(leak(), 500))
    write_recording(tmp_path / "in" / "b", recording(sawtooth()))
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    done = CliRunner().invoke(app, ["--telemetry", str(tmp_path / "in"), "--json", str(out), "--html", str(page)])
    assert done.exit_code == 0, done.output
    result = json.loads(out.read_text())
    keys = {"recall", "precision", "median_lead_share", "false_pages", "coverage_80", "eta_error_median", "cause_top1"}
    assert keys | {"cause_top3"} <= result["overall"].keys()
    assert set(result["baselines"]) == {"predict_linear", "static_90", "seasonal_naive"}
    assert all(b.keys() == result["overall"].keys() for b in result["baselines"].values())
    assert [r["run"] for r in result["runs"]] == ["a", "b"]
    assert result["overall"]["recall"] == 1
    assert result["overall"]["false_pages"] == 0
    assert page.read_text().count("data:image/png") == 2


def test_a_folder_without_recordings_is_said(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["--telemetry", str(tmp_path)])
    assert done.exit_code != 0
    assert "holds no recording" in str(done.exception)


def test_real_runs() -> None:
    folder = Path(os.environ.get("FOREWARN_DATA", "nowhere")) / "realruns"
    if not folder.is_dir():
        pytest.skip("FOREWARN_DATA names no folder with realruns/: the real data set is not here")
    walked = [backtest_recording(folder / name, TrendScorer()) for name in ("r229", "r023", "r083")]
    overall = as_json(walked, "trend")["overall"]
    assert overall["recall"] == 1
    assert overall["false_pages"] == 0


def test_a_recording_that_cannot_be_read_is_left_out_and_said(tmp_path: Path) -> None:
    write_recording(tmp_path / "in" / "good", recording(leak()[:120]))
    write_recording(tmp_path / "in" / "bad", recording(leak()[:120]))
    (tmp_path / "in" / "bad" / "telemetry.parquet").write_bytes(b"no parquet")
    out = tmp_path / "out.json"
    done = CliRunner().invoke(app, ["--telemetry", str(tmp_path / "in"), "--json", str(out)])
    assert done.exit_code == 0, done.output
    assert "bad: left out" in done.output
    result = json.loads(out.read_text())
    assert [r["run"] for r in result["runs"]] == ["good"]
    assert "cannot be read as Parquet" in result["unread"]["bad"]
    alone = CliRunner().invoke(app, ["--telemetry", str(tmp_path / "in" / "bad")])
    assert "cannot be read as Parquet" in str(alone.exception)


@pytest.mark.parametrize("seconds", [1, 20])
def test_a_short_recording_without_anything_beside_is_walked(seconds: int, tmp_path: Path) -> None:
    write_recording(tmp_path / "run", recording(leak()[:seconds]))
    for beside in ("limits.csv", "topology.csv", "failures.csv", "meta.json"):
        (tmp_path / "run" / beside).unlink()
    done = CliRunner().invoke(app, ["--telemetry", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert "no recorded signal has a limit above 0" in done.output


def test_a_limit_of_zero_is_none_for_the_baselines_too(tmp_path: Path) -> None:
    own = recording(leak()[:200])
    write_recording(tmp_path / "run", Recording("made", own.metrics, limits=(Limit(USAGE, 0.0),)))
    outcomes = backtest_recording(tmp_path / "run", TrendScorer()).outcomes
    assert [o.pages for o in outcomes.values()] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("signal", "right"),
    [("messaging.queue.depth", 1), ("http.server.request.duration.p50", 1), ("process.memory.usage", 0)],
)
def test_a_queue_that_fails_is_told_by_its_depth_or_its_wait(signal: str, right: int) -> None:
    at = datetime.fromtimestamp(START + 500, UTC)
    failed = (Failure("api", "queue_saturation", at, "client", "http.client.request.rate"),)
    run = Recording("made", recording(leak()).metrics, failures=failed)
    mode = failure_mode(signal).mode
    page = Page("api", signal, mode, START + 300, START + 520, [("api", signal)])
    assert outcome(run, [page], 1.0).right_pages == right


def test_a_mode_that_is_not_in_the_catalogue_is_that_of_its_cause() -> None:
    at = datetime.fromtimestamp(START + 500, UTC)
    page = Page("api", "db.client.connections.usage", "connection_exhaustion", START + 300, START + 520, [])
    for cause, right in (("postgresql.backends", 1), ("system.filesystem.usage", 0)):
        failed = (Failure("api", "slots_used_up", at, "api", cause),)
        run = Recording("made", recording(leak()).metrics, failures=failed)
        assert outcome(run, [page], 1.0).right_pages == right
