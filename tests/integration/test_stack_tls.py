"""A stack whose doors have a certificate: it starts, its collector delivers, the doctor finds nothing wrong with it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from certificates import Authority
from integration.processes import wait_until

from forewarn.cli.gateway import gateway_of
from forewarn.config.running import running
from forewarn.telemetry.sender import OtlpSender


def test_a_stack_with_a_certificate_of_another_name(
    broker: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Authority(tmp_path).sign("monitor.example.org")
    for name in [n for n in os.environ if n.startswith("FOREWARN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FOREWARN_HOME", str(tmp_path / "home"))

    def forewarn(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "forewarn.cli.app", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False)

    settings = {
        "KAFKA_BOOTSTRAP": broker, "POSTGRES_URL": postgres_url, "TLS_CERTIFICATE_FILE": pair.certificate.name,
        "TLS_KEY_FILE": pair.key.name, "COLLECTOR_INTERVAL_SECONDS": 0.5,
        "PUBLIC_URL": "https://monitor.example.org:5006",
    }  # fmt: skip
    sets = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    try:
        started = forewarn("up", "--detach", "--only", "gateway,collector", *sets)
        assert started.returncode == 0, started.stdout + started.stderr
        state = running(tmp_path / "home")
        assert state is not None
        gateway = state.service("gateway")
        assert gateway is not None
        assert gateway.address.startswith("https://127.0.0.1:")

        def delivered() -> bool:
            with psycopg.connect(postgres_url) as connection:
                row = connection.execute(
                    "select counters->>'samples_total' from service_status where service = 'collector'"
                ).fetchone()
            return row is not None and float(row[0] or 0) > 0

        wait_until(delivered, 60, "samples of the collector")
        told = gateway_of(home=tmp_path / "home")
        with OtlpSender(told.url, trust=told.trust) as sender:
            sender.send_metrics(b"")
        verdicts = {f["check"]: f["verdict"] for f in json.loads(forewarn("doctor", "--json").stdout)}
        assert [verdicts[name] for name in ("TLS", "Gateway: TLS", "Gateway")] == ["ok", "ok", "ok"]
    finally:
        forewarn("down")
