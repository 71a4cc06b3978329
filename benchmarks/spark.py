"""Memory of windows and features over a growing history: all at once in one process, and by Spark entity by entity.

`python -m benchmarks.spark [--entities N] [--days 4 8 16]`; needs PySpark and Java. Both ways begin at the same files
of raw samples and end at the same files of windows and features, which are compared bit by bit.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import psutil

from benchmarks.model_lifecycle.fleet_history import NAMESPACE, SIGNALS, START, STEP, write_files
from benchmarks.report import Result, show, write
from monitor_assets.history import History

CONF = {"spark.master": "local[2]", "spark.driver.memory": "1g"}
_PERIOD_SECONDS = 0.25


def main() -> None:
    """Measure each length of history, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=60)
    parser.add_argument("--days", type=int, nargs="+", default=[4, 8, 16])
    arguments = parser.parse_args()
    for days in arguments.days:
        results = list(measure(arguments.entities, days))
        show("history past memory", results)
        write("spark", results)  # at once: a long history takes long


def measure(entities: int, days: int) -> Iterator[Result]:
    """Peak memory and time of both ways."""
    with tempfile.TemporaryDirectory(prefix="forewarn-bench-", dir=os.environ.get("FOREWARN_BENCH_FOLDER")) as name:
        homes = {way: Path(name) / way for way in ("memory", "spark")}
        _child("prepare", homes["memory"], str(entities), str(days))
        samples = homes["spark"] / "history"
        samples.parent.mkdir()
        subprocess.run(["cp", "-al", str(homes["memory"] / "history"), str(samples)], check=True)  # links: same files
        found = {way: _watched(way, home) for way, home in homes.items()}
        rows = _compared(*(History(home, NAMESPACE) for home in homes.values()))
    millions = entities * SIGNALS * days * 1440 / 1e6
    label = f"{entities * SIGNALS} series, {days} days"
    peaks = {way: {part: size / 2**20 for part, size in parts.items()} for way, (_, parts) in found.items()}
    note = f"{millions:.1f} M samples at 1 min; {rows} rows of features and all windows the same to the last bit"
    yield Result(f"in one process: peak memory ({label})", peaks["memory"]["driver"], "MiB", note=note)
    yield Result(f"Spark: peak memory of the driver's Python ({label})", peaks["spark"]["driver"], "MiB", note=note)
    for part, words in (
        ("workers", "Python workers, two together"),
        ("jvm", "JVM, heap of 1 GiB, driver and executor"),
    ):
        yield Result(f"Spark: peak memory of {words} ({label})", peaks["spark"][part], "MiB")
    seconds = {way: took for way, (took, _) in found.items()}
    baselines = {"in one process": seconds["memory"]}
    yield Result(f"Spark: wall time ({label})", seconds["spark"], "s", baselines=baselines, note="with the JVM's start")


def _child(*arguments: str, start: bool = False) -> "subprocess.Popen[bytes]":
    way, home, *_ = arguments
    threads = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    settings = {"FOREWARN_HOME": str(home), "FOREWARN_SPARK_CONF": json.dumps(CONF)}
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.history_past_memory.ways", *map(str, arguments)]
    quiet = None if os.environ.get("FOREWARN_BENCH_VERBOSE") else subprocess.DEVNULL
    child = subprocess.Popen(command, env={**os.environ, **threads, **settings}, stderr=quiet)
    if not start and child.wait():
        sys.exit(f"'{way}' failed: FOREWARN_BENCH_VERBOSE=1 shows why")
    return child


def _watched(way: str, home: Path) -> tuple[float, dict[str, int]]:
    """Seconds, and the peak in bytes of the process, of the JVM and of the Python workers below it."""
    began = time.perf_counter()
    child = _child(way, home, start=True)
    peaks = {"driver": 0, "jvm": 0, "workers": 0}
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(psutil.Process(child.pid), peaks, over))
    watcher.start()
    failed = child.wait()
    over.set()
    watcher.join()
    if failed:
        sys.exit(f"'{way}' failed: FOREWARN_BENCH_VERBOSE=1 shows why")
    return time.perf_counter() - began, peaks


def _watch(process: psutil.Process, peaks: dict[str, int], over: threading.Event) -> None:
    while not over.wait(_PERIOD_SECONDS):
        now = dict.fromkeys(peaks, 0)
        for one in _tree(process):
            try:
                part = "driver" if one == process else "jvm" if "java" in one.name() else "workers"
                now[part] += one.memory_full_info().pss  # shared pages by halves: workers are forks of one process
            except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
                continue
        for part, size in now.items():
            peaks[part] = max(peaks[part], size)


def _tree(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _compared(one: History, other: History) -> int:
    """Rows of features; AssertionError where the two differ in anything."""
    ours, theirs = one.read_windows(), other.read_windows()
    for name in ("cells", "limits"):
        for row in range(len(ours.series)):
            np.testing.assert_array_equal(getattr(theirs, name)[row], getattr(ours, name)[row])
    left, right = one.read_features(), other.read_features()
    for column in left.column_names:
        np.testing.assert_array_equal(right.column(column).to_numpy(), left.column(column).to_numpy())
    return int(left.num_rows)


def prepare(history: History, entities: int, days: int) -> None:
    """Raw samples of so many whole days."""
    write_files(history, entities, days + 1)  # which leaves out the last: it is the archive's
    stop = START + timedelta(days=days) - timedelta(seconds=STEP)
    history.write_json("interval", [START.isoformat(), (stop + timedelta(microseconds=1)).isoformat()])


if __name__ == "__main__":
    main()
