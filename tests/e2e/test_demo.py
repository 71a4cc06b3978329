"""The main job, whole: `forewarn demo --once` starts everything, trains, predicts a failure and resolves it."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest


@pytest.mark.e2e
@pytest.mark.timeout(780)
def test_demo_predicts_a_failure_before_it_comes_and_leaves_nothing_behind(tmp_path: Path) -> None:
    home = tmp_path / "home"
    environment = {**os.environ, "COLUMNS": "160", "FOREWARN_HOME": str(home)}
    tmp_path.chmod(0o755)
    end = "2026-11-22T05:31:00"  # the same shop, the same day, whenever the test runs
    shorter = ["--hours", "10", "--speed", "1500"]  # than by default; what is promised stays
    command = [sys.executable, "-m", "forewarn.cli.app", "demo", "--once", "--end", end, *shorter]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=760, check=False)
    said = run.stdout + run.stderr
    assert run.returncode == 0, said[-6000:]
    for promise in (
        "The predictor serves model",
        "was predicted",
        "no healthy entity was paged",
        "the ledger agrees",
        "came true",
    ):
        assert promise in said, said[-6000:]
    mails = [path.read_text(errors="replace") for path in (home / "mail").glob("*.eml")]
    assert any("connection pool" in mail for mail in mails)
    assert list((home / "reports").glob("drift-*.html"))
    left = [
        p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if str(home) in " ".join(p.info["cmdline"] or [])
    ]
    assert left == []
