"""The real stack, small: broker, PostgreSQL, tables and topics, mailbox, gateway; as a user starts and ends it."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from forewarn.config.running import StackState, client_settings, running
from forewarn.stores.log_ends import end_offsets
from forewarn.telemetry import topics

SERVICES = "gateway,mailbox"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home on which a stack runs."""
    folder = tmp_path_factory.mktemp("home")
    for each in (folder, *folder.parents):
        if each.stat().st_uid == os.getuid():
            each.chmod(each.stat().st_mode | 0o001)
    started = forewarn("up", "--detach", "--only", SERVICES, home=folder)
    assert started.returncode == 0, started.stdout + started.stderr
    yield folder
    forewarn("down", "--force", home=folder)


def forewarn(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("FOREWARN_")}
    return subprocess.run(
        [sys.executable, "-m", "forewarn.cli.app", *arguments, "--home", str(home)],
        cwd=home, capture_output=True, text=True, timeout=120, env={**clean, "COLUMNS": "160"},
    )  # fmt: skip


def state_of(home: Path) -> StackState:
    state = running(home)
    assert state is not None
    return state


def test_clients_find_what_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("FOREWARN_")]:
        monkeypatch.delenv(name)
    settings = client_settings(home)
    with psycopg.connect(settings.postgres_url.get_secret_value()) as connection:
        assert connection.execute("select count(*) from risks").fetchone() == (0,)
        databases = {name for (name,) in connection.execute("select datname from pg_database")}
        assert {"forewarn", "dagster"} <= databases
    assert {topic for topic, _ in end_offsets(settings.kafka_bootstrap, topics.ALL)} == set(topics.ALL)
    with urllib.request.urlopen(f"http://127.0.0.1:{settings.gateway_port}/healthz") as response:
        assert response.status == 200


def test_the_database_asks_for_its_password(home: Path) -> None:
    url = state_of(home).environment["FOREWARN_POSTGRES_URL"]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(psycopg.conninfo.make_conninfo(url, password="guess"))


def test_status_tells_all_of_it_without_the_password(home: Path) -> None:
    told = forewarn("status", "--json", home=home)
    assert told.returncode == 0, told.stderr
    read = json.loads(told.stdout)
    phases = {s["name"]: s["phase"] for s in read["services"]}
    assert phases == {"broker": "ready", "postgres": "ready", "prepare": "done", "mailbox": "ready", "gateway": "ready"}
    assert read["dead_letters"] == 0
    password = psycopg.conninfo.conninfo_to_dict(state_of(home).environment["FOREWARN_POSTGRES_URL"])["password"]
    assert str(password) not in told.stdout + forewarn("config", home=home).stdout
    assert "gateway" in forewarn("status", home=home).stdout


def test_a_killed_broker_comes_back_with_topics_and_offsets_of_the_new_log(home: Path) -> None:
    state = state_of(home)
    settings = client_settings(home)
    with psycopg.connect(settings.postgres_url.get_secret_value()) as connection:
        connection.execute("insert into consumer_offsets values ('archiver', 'risks', 0, 5000)")
    broker, gateway = state.service("broker"), state.service("gateway")
    assert broker and broker.pid and gateway
    psutil.Process(broker.pid).kill()
    deadline = time.monotonic() + 40
    while True:
        now = state_of(home).service("gateway")
        assert now is not None
        if now.phase == "ready" and now.pid != gateway.pid:
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert {topic for topic, _ in end_offsets(settings.kafka_bootstrap, topics.ALL)} == set(topics.ALL)
    with psycopg.connect(settings.postgres_url.get_secret_value()) as connection:
        assert connection.execute("select count(*) from consumer_offsets").fetchone() == (0,)
    notices = " ".join(state_of(home).notices)
    assert "Broker (Tansu, Kafka protocol) ended by signal SIGKILL: restarting" in notices


def test_kill_9_leaves_nothing_and_the_next_start_finds_its_data(home: Path) -> None:
    state = state_of(home)
    with psycopg.connect(client_settings(home).postgres_url.get_secret_value()) as connection:
        connection.execute("insert into audit (actor, action, subject, reason) values ('a', 'b', 'c', 'd')")
    everybody = psutil.Process(state.pid).children(recursive=True)
    assert any(p.name() == "postgres" for p in everybody)
    psutil.Process(state.pid).kill()
    _, alive = psutil.wait_procs(everybody, timeout=25)
    assert [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    started = forewarn("up", "--detach", "--only", SERVICES, home=home)
    assert started.returncode == 0, started.stdout + started.stderr
    with psycopg.connect(client_settings(home).postgres_url.get_secret_value()) as connection:
        assert connection.execute("select count(*) from audit").fetchone() == (1,)


def test_a_stack_for_one_process_ends_with_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from rich.console import Console; "
        "from forewarn.cli.up import start_in_background; "
        "start_in_background(Console(), Path(sys.argv[1]), only='mailbox', ends_with_parent=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.DEVNULL)
    wait_until(lambda: (running(tmp_path) or None) is not None and state_of(tmp_path).phase == "ready")
    parent.kill()
    parent.wait(5)
    wait_until(lambda: running(tmp_path) is None)
    assert not (tmp_path / "stack.json").exists()  # it had the time to stop in order


def wait_until(check: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_down_stops_all_in_order(home: Path) -> None:
    state = state_of(home)
    everybody = [psutil.Process(s.pid) for s in state.services if s.pid]
    told = forewarn("down", home=home)
    assert told.returncode == 0, told.stderr
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in everybody)
    assert running(home) is None
    assert "database system is shut down" in (home / "logs" / "postgres.log").read_text().splitlines()[-1]
