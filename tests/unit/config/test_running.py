"""Commands find the stack of this machine, and what the user set wins over it."""

import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from forewarn.config.running import (
    ServiceState,
    StackState,
    client_settings,
    read_state,
    running,
    settings_with_sources,
)
from forewarn.services.stack.state import HomeLock, remove_state, write_state


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackState:
    """The state of a stack that is this process, written to tmp_path."""
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("FOREWARN_")]:
        monkeypatch.delenv(name)
    environment = {
        "FOREWARN_KAFKA_BOOTSTRAP": "127.0.0.1:20001",
        "FOREWARN_POSTGRES_URL": "postgresql://forewarn:secret@127.0.0.1:20002/forewarn",
        "FOREWARN_GATEWAY_PORT": "20003",
        "FOREWARN_STEP_SECONDS_BY_NAMESPACE": '{"shop": 5.0}',
        "FOREWARN_OF_A_LATER_VERSION": "1",
    }
    me = psutil.Process()
    found = StackState(
        me.pid, me.create_time(), "id", str(tmp_path), "ready", 1.0, "0.1.0", environment,
        (ServiceState("gateway", "Gateway", "ready", 7),), ("a notice",),
    )  # fmt: skip
    write_state(found)
    return found


def test_the_state_file_is_read_as_it_was_written_and_by_its_owner_only(state: StackState, tmp_path: Path) -> None:
    assert running(tmp_path) == state
    assert (tmp_path / "stack.json").stat().st_mode & 0o077 == 0
    remove_state(tmp_path)
    assert read_state(tmp_path) is None


def test_the_stacks_addresses_override_defaults(state: StackState, tmp_path: Path) -> None:
    settings = client_settings(tmp_path)
    assert settings.kafka_bootstrap == "127.0.0.1:20001"
    assert settings.gateway_port == 20003
    assert settings.step_of("shop") == 5.0


def test_environment_and_env_file_win_over_the_stack(
    state: StackState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREWARN_KAFKA_BOOTSTRAP", "redpanda:9092")
    (tmp_path / ".env").write_text("FOREWARN_GATEWAY_PORT=4444\n")
    settings, sources = settings_with_sources(tmp_path)
    assert (settings.kafka_bootstrap, settings.gateway_port) == ("redpanda:9092", 4444)
    assert "20002" in settings.postgres_url.get_secret_value()
    told = {name: sources[name] for name in ("home", "kafka_bootstrap", "gateway_port", "postgres_url", "mail_to")}
    assert told == {
        "home": "option",
        "kafka_bootstrap": "environment",
        "gateway_port": ".env",
        "postgres_url": "running stack",
        "mail_to": "default",
    }


def test_a_dead_stacks_state_is_ignored(state: StackState, tmp_path: Path) -> None:
    write_state(replace(state, pid_created_at=state.pid_created_at - 1000))  # its pid was given to us since
    assert running(tmp_path) is None
    assert client_settings(tmp_path).gateway_port == 4318


def test_a_torn_state_file_is_no_stack(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text('{"pid": 1')
    assert running(tmp_path) is None


def test_a_home_is_locked_once(tmp_path: Path) -> None:
    first, second = HomeLock(tmp_path), HomeLock(tmp_path)
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()
