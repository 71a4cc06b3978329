"""The command line as a user meets it: help, errors, exit statuses."""

import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from forewarn.cli.settings_table import masked
from forewarn.cli.words import age, memory

COMMAND = [sys.executable, "-m", "forewarn.cli.app"]


@pytest.fixture
def forewarn(tmp_path: Path):
    """Runs the command in an empty folder."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("FOREWARN_")}

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60,
            env={**clean, "COLUMNS": "200", "NO_COLOR": "1", **environment},
        )  # fmt: skip

    return run


def test_help_is_quick_and_lists_every_command(forewarn) -> None:
    began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    told = forewarn("--help")
    assert told.returncode == 0
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began < 2  # of processor time; 0.3 s when idle
    for name in ("up", "down", "status", "logs", "config"):
        assert f"│ {name} " in told.stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; import forewarn.cli.app; heavy = {'numpy', 'psycopg', 'confluent_kafka', 'pydantic', 'psutil'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["up", "down", "status", "logs", "config"])
def test_every_command_has_a_help_of_its_own(forewarn, name: str) -> None:
    told = forewarn(name, "--help")
    assert told.returncode == 0
    assert f"forewarn {name}" in told.stdout.replace("python -m forewarn.cli.app", "forewarn")


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "says"),
    [
        (["status"], {}, 3, "no stack runs on"),
        (["down"], {}, 0, ""),
        (["logs", "gateway"], {}, 1, "no log is called gateway"),
        (["up", "--set", "GATEWAY_PROT=1"], {}, 2, "expected KEY=VALUE with a KEY of .env.example"),
        (["up", "--only", "gatewy"], {}, 1, "no service is called gatewy; there are: alerter, archiver"),
        (["config"], {"FOREWARN_GATEWAY_PORT": "many"}, 1, "FOREWARN_GATEWAY_PORT: input should be a valid integer"),
        (["stauts"], {}, 2, "Did you mean 'status'"),
    ],
)
def test_errors_are_a_sentence_and_a_status(
    forewarn, arguments: list[str], environment: dict[str, str], status: int, says: str
) -> None:
    told = forewarn(*arguments, **environment)
    assert told.returncode == status, told.stderr
    assert says in told.stderr
    assert "Traceback" not in told.stderr


def test_a_port_that_was_asked_for_and_is_taken_stops_the_start(forewarn) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        told = forewarn("up", "--only", "gateway", "--set", f"GATEWAY_PORT={port}")
    assert told.returncode == 1
    assert f"port {port} of gateway is taken by" in told.stderr
    assert f"(pid {os.getpid()})" in told.stderr


def test_config_masks_secrets_and_tells_where_values_come_from(forewarn) -> None:
    secrets = {"FOREWARN_POSTGRES_URL": "postgresql://u:hunter2@db:5432/f", "FOREWARN_SMTP_PASSWORD": "hunter2"}
    told = forewarn("config", "--json", **secrets)
    assert "hunter2" not in told.stdout + told.stderr
    read = json.loads(told.stdout)
    assert read["FOREWARN_POSTGRES_URL"] == {"value": "postgresql://u:••••••@db:5432/f", "source": "environment"}
    assert read["FOREWARN_GATEWAY_PORT"] == {"value": "4318", "source": "default"}
    assert "hunter2" not in forewarn("config", **secrets).stdout


def test_status_works_while_what_it_asks_is_down(forewarn) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    elsewhere = {
        "FOREWARN_KAFKA_BOOTSTRAP": f"127.0.0.1:{port}",
        "FOREWARN_POSTGRES_URL": f"postgresql://u@127.0.0.1:{port}/f",
    }
    told = forewarn("status", "--json", **elsewhere)
    assert told.returncode == 1
    problems = " ".join(json.loads(told.stdout)["problems"])
    assert "PostgreSQL does not answer" in problems
    assert "broker does not answer" in problems


def test_logs_prints_the_last_lines(forewarn, tmp_path: Path) -> None:
    (tmp_path / "home" / "logs").mkdir(parents=True)
    (tmp_path / "home" / "logs" / "gateway.log").write_text("".join(f"line {i}\n" for i in range(100)))
    assert forewarn("logs", "gateway", "-n", "2", "--home", "home").stdout == "line 98\nline 99\n"
    assert forewarn("logs", "--home", "home").stdout == "gateway\n"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, ""),
        (0.2, "0 s"),
        (59.4, "59 s"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (18_600, "5 h 10 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations_read_well(seconds: float | None, expected: str) -> None:
    assert age(seconds) == expected


def test_sizes_read_well() -> None:
    assert (memory(None), memory(89 * 2**20), memory(int(1.2 * 2**30))) == ("", "89 MiB", "1.2 GiB")


def test_a_secret_that_is_no_address_is_masked_whole() -> None:
    from pydantic import SecretStr

    assert "tok" not in masked(SecretStr("token-1"))
