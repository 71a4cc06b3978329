"""`forewarn replay` and `forewarn convert` as a user meets them."""

import time
from pathlib import Path

import numpy as np
import pytest
from otlp_capture import capture_otlp
from servers import free_port
from typer.testing import CliRunner

from forewarn.cli.convert import app as convert_app
from forewarn.cli.failure import CommandError
from forewarn.cli.gateway import gateway_of
from forewarn.cli.replay import app as replay_app
from forewarn.cli.replay import parse_speed
from forewarn.telemetry.recording import Failure, Recording, utc, write_recording
from forewarn.telemetry.samples import SampleBatch, Series

START = 1_767_607_200 * 10**9


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two minutes of one signal, with a failure in them."""
    times = START + 10**9 * np.arange(120)
    batch = SampleBatch(
        (Series("api", "process.memory.usage", unit="By"),), np.zeros(120, np.int32), times, times / 1e9
    )
    failure = Failure("api", "memory_exhaustion", utc(START + 60 * 10**9), "worker", "process.memory.usage")
    write_recording(tmp_path / "run", Recording("run", batch, failures=(failure,)))
    return tmp_path / "run"


def test_a_replay_tells_what_it_sends_and_the_failures_as_they_pass(recording: Path) -> None:
    with capture_otlp() as capture:
        result = CliRunner().invoke(replay_app, [str(recording), "--speed", "max", "--gateway", capture.url])
        assert result.exit_code == 0, result.output
        assert sum(map(len, capture.metrics())) == 120
    assert "120 samples of 1 series; 1 entities" in result.output
    assert "2026-01-05 10:00:00 to 2026-01-05 10:01:59 UTC in namespace run" in result.output
    assert "✗ 2026-01-05 10:01:00  run/api: memory_exhaustion (cause: run/worker process.memory.usage)" in result.output
    assert "sent 120 samples" in result.output


def test_a_shifted_replay_ends_about_now(recording: Path) -> None:
    with capture_otlp() as capture:
        arguments = [str(recording), "--speed", "60", "--shift-to-now", "--namespace", "b", "--gateway", capture.url]
        result = CliRunner().invoke(replay_app, arguments)
        assert result.exit_code == 0, result.output
        batches = capture.metrics()
    assert {s.entity for b in batches for s in b.series} == {"b/api"}
    assert max(int(b.times.max()) for b in batches) / 1e9 == pytest.approx(time.time(), abs=5)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["{run}", "--speed", "fast"], "--speed 'fast': give a number above 0, such as 60, or max"),
        (["{run}", "--speed", "-1"], "--speed '-1'"),
        (["{run}", "--namespace", "a/b"], "give a name without '/'"),
        (["{run}", "--gateway", "localhost:4318"], "give an address such as http://"),
        (["{run}/..", "--speed", "max"], "Did you mean one of the recordings in it: run"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(recording: Path, arguments: list[str], reason: str) -> None:
    result = CliRunner().invoke(replay_app, [a.format(run=recording) for a in arguments])
    assert isinstance(result.exception, CommandError)
    assert reason in str(result.exception)


def test_without_a_gateway_it_says_what_to_do_and_how_far_it_came(recording: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    result = CliRunner().invoke(replay_app, [str(recording), "--speed", "max", "--gateway", address])
    assert isinstance(result.exception, CommandError)
    assert str(result.exception).startswith(f"no gateway answers at {address}")
    assert "forewarn up" in str(result.exception) and "Sent until 2026-01-05 10:00:00" in str(result.exception)


def test_speeds_and_addresses() -> None:
    assert [parse_speed(x) for x in ("60", "2.5x", "MAX")] == [60.0, 2.5, None]
    told = gateway_of("http://x:1", "t")
    assert (told.url, told.token) == ("http://x:1", "t")
    with pytest.raises(CommandError, match="give an address such as"):
        gateway_of("x:1")


def test_converting_checks_and_completes(recording: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(convert_app, ["realruns", str(recording), str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "1 entities, 120 samples of 1 series" in result.output and "1 failures" in result.output
    again = CliRunner().invoke(convert_app, ["realruns", str(recording), str(tmp_path / "out")])
    assert "is not an empty folder" in str(again.exception)
    unknown = CliRunner().invoke(convert_app, ["netflix", str(recording), str(tmp_path / "o2")])
    assert "there are: nezha, realruns" in str(unknown.exception)
