"""Starting, keeping up and ending a stack, with processes that are quick to start and bad in one way each."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from forewarn.config.running import StackState, read_state, running

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a fake stack on tmp_path; ends it after the test."""
    started: list[subprocess.Popen[str]] = []

    def run(*names: str) -> subprocess.Popen[str]:
        script = Path(__file__).with_name("fake_stack.py")
        process = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path), *names],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(15)
        if process.stdout:
            process.stdout.close()


def until(check: Callable[[], bool], seconds: float = 12) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def ready(home: Path) -> StackState:
    def is_ready() -> bool:
        state = running(home)
        return state is not None and state.phase == "ready"

    until(is_ready)
    state = running(home)
    assert state is not None
    return state


def journal(home: Path) -> list[str]:
    path = home / "journal"
    return path.read_text().splitlines() if path.exists() else []


def pids(state: StackState) -> dict[str, int]:
    return {s.name: s.pid for s in state.services if s.pid}


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_ctrl_c_stops_in_reverse_order(start: Start, tmp_path: Path) -> None:
    process = start("base", "step", "upper", "beside")
    state = ready(tmp_path)
    assert [line.split()[1] for line in journal(tmp_path) if line.split()[1] != "beside"] == ["base", "upper"]
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    stops = [line for line in journal(tmp_path) if line.startswith("stop")]
    assert stops.index("stop upper") < stops.index("stop base")
    assert not any(alive(pid) for pid in pids(state).values())
    assert read_state(tmp_path) is None


def test_a_stubborn_child_and_a_hidden_grandchild_are_killed_at_the_stop(start: Start, tmp_path: Path) -> None:
    process = start("stubborn", "parent")
    state = ready(tmp_path)
    until(lambda: any("grandchild" in line for line in journal(tmp_path)))
    grandchild = int(journal(tmp_path)[-1].split()[1])
    process.terminate()
    assert process.wait(15) == 0
    assert not any(alive(pid) for pid in (*pids(state).values(), grandchild))


@pytest.mark.parametrize("first_kill_the_reaper", [False, True])
def test_kill_9_of_the_supervisor_leaves_no_orphan(start: Start, tmp_path: Path, first_kill_the_reaper: bool) -> None:
    process = start("base", "stubborn", "parent")
    state = ready(tmp_path)
    until(lambda: any("grandchild" in line for line in journal(tmp_path)))
    everybody = psutil.Process(process.pid).children(recursive=True)
    assert len(everybody) >= 5  # three services, a grandchild, the reaper
    if first_kill_the_reaper:  # it is replaced, and the new one knows whom to end
        (reaper,) = _reapers(process.pid)
        reaper.kill()
        until(lambda: [p.pid for p in _reapers(process.pid)] not in ([], [reaper.pid]), 10)
    process.kill()
    process.wait(5)
    until(lambda: not any(p.is_running() and alive(p.pid) for p in everybody), 20)
    assert running(tmp_path) is None
    assert read_state(tmp_path) is not None  # what it left there does not hinder the next one:
    start("beside")
    assert ready(tmp_path).stack_id != state.stack_id


def _reapers(pid: int) -> list[psutil.Process]:
    return [p for p in psutil.Process(pid).children() if _is_reaper(p)]


def _is_reaper(process: psutil.Process) -> bool:
    try:
        return "forewarn.services.stack.reaper" in process.cmdline()
    except (psutil.ZombieProcess, psutil.NoSuchProcess):  # it ended meanwhile
        return False


def test_leftovers_of_a_killed_stack_are_ended_by_the_next_start(start: Start, tmp_path: Path) -> None:
    process = start("stubborn")
    state = ready(tmp_path)
    (reaper,) = _reapers(process.pid)
    reaper.suspend()  # it cannot clean up
    process.kill()
    process.wait(5)
    stubborn = pids(state)["stubborn"]
    assert alive(stubborn)
    second = start("beside")
    ready(tmp_path)
    assert not alive(stubborn)
    reaper.kill()
    second.terminate()
    assert second.stdout is not None
    assert "was killed: ended 1 leftovers" in second.stdout.read()


def test_only_one_stack_runs_on_a_home(start: Start, tmp_path: Path) -> None:
    first = start("beside")
    ready(tmp_path)
    second = start("beside")
    assert second.wait(10) == 1
    assert second.stdout is not None
    assert f"already (pid {first.pid})" in second.stdout.read()
    assert running(tmp_path) is not None


def test_a_crashing_child_is_started_again_and_counted(start: Start, tmp_path: Path) -> None:
    process = start("crashing", "beside")
    before = pids(ready(tmp_path))["beside"]
    until(lambda: journal(tmp_path).count("start crashing") >= 3)
    state = read_state(tmp_path)
    assert state is not None
    crashing = state.service("crashing")
    assert crashing is not None
    assert crashing.restarts >= 2
    assert pids(state)["beside"] == before
    process.terminate()
    assert process.stdout is not None
    told = process.stdout.read()
    assert "Crashing ended with status 3: restarting in 0.5 s" in told
    assert "Crashing ended with status 3: restarting in 1 s" in told


def test_a_child_beyond_its_memory_starts_anew_and_what_is_lost_is_said(start: Start, tmp_path: Path) -> None:
    start("hungry")
    before = pids(ready(tmp_path))["hungry"]
    until(lambda: pids(state_of(tmp_path)).get("hungry", before) != before)
    assert not alive(before)
    told = " ".join(state_of(tmp_path).notices)
    assert "Hungry held more than 57 MiB: restarting in 0.5 s; its food is gone" in told


def test_before_a_child_is_ended_for_its_memory_its_users_end_in_order(start: Start, tmp_path: Path) -> None:
    start("feeder", "reader", "writer")
    ready(tmp_path)
    until(lambda: sum(line.startswith("start") for line in journal(tmp_path)) >= 6)
    stops = [line for line in journal(tmp_path) if line.startswith("stop")]
    assert stops[:3] == ["stop writer", "stop reader", "stop feeder"]


def test_who_reads_stops_after_who_writes(start: Start, tmp_path: Path) -> None:
    process = start("reader", "writer")
    ready(tmp_path)
    process.terminate()
    assert process.wait(10) == 0
    assert [line for line in journal(tmp_path) if line.startswith("stop")] == ["stop writer", "stop reader"]


def state_of(home: Path) -> StackState:
    state = read_state(home)
    assert state is not None
    return state


def test_who_builds_on_a_restarted_service_starts_anew_after_it(start: Start, tmp_path: Path) -> None:
    start("base", "step", "upper", "beside")
    before = pids(ready(tmp_path))
    os.kill(before["base"], signal.SIGKILL)

    def renewed() -> bool:
        state = read_state(tmp_path)
        assert state is not None
        now = pids(state)
        upper, step = state.service("upper"), state.service("step")
        assert upper and step
        fresh = {"base", "upper"} <= now.keys() and all(now[n] != before[n] for n in ("base", "upper"))
        return fresh and upper.phase == "ready" and step.restarts == 1 and now["beside"] == before["beside"]

    until(renewed)
    starts = [line.split()[1] for line in journal(tmp_path) if line.startswith("start")]
    assert [name for name in starts if name != "beside"] == ["base", "upper", "base", "upper"]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("broken", "Broken ended with status 4 while it started | ['cannot read the flux capacitor']"),
        ("silent", "Silent was not ready after 1 s | ['thinking']"),
    ],
)
def test_a_child_that_never_gets_ready_ends_the_start_with_its_last_words(
    start: Start, tmp_path: Path, bad: str, says: str
) -> None:
    process = start("beside", bad)
    assert process.wait(15) == 1
    assert process.stdout is not None
    assert says in process.stdout.read()
    state = read_state(tmp_path)
    assert state is not None
    assert state.phase == "failed"
    started = [int(line.split()[2]) for line in journal(tmp_path) if line.startswith("start beside")]
    assert not any(alive(pid) for pid in started)
