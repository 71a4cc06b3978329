"""Memory of the windows a series, with all that belongs to it: names, rows, the decoder's memory."""

import gc
import multiprocessing
from typing import Any

import numpy as np
import psutil

from benchmarks.report import Result, at_most
from benchmarks.streaming.fleet import START_NS, Fleet, Template

SIZES = (10_000, 100_000, 300_000)
GOAL = 8192


def measure(sizes: tuple[int, ...] = SIZES) -> list[Result]:
    """A fresh process for each size; sizes that do not fit in half of the free memory are left out."""
    context = multiprocessing.get_context("spawn")
    results = []
    for size in sizes:
        name = f"memory per series, {size:,} series"
        if size * GOAL * 3 > psutil.virtual_memory().available / 2:
            results.append(Result(name, None, "B", f"≤ {GOAL:,}", note="skipped: not enough free memory"))
            continue
        answers = context.Queue()
        process = context.Process(target=_fill, args=(size, answers))
        process.start()
        resident, windows = answers.get(timeout=120)
        process.join()
        results.append(at_most(name, resident, "B", GOAL, baselines={"windows alone": windows}, note="resident set"))
    return results


def _fill(size: int, answers: Any) -> None:
    from forewarn.features.windows import WindowStore
    from forewarn.telemetry.otlp_metrics import decode_metrics

    fleet, rng = Fleet(size // 50), np.random.default_rng(4)
    times = START_NS + np.arange(2, dtype=np.int64) * 60 * 10**9
    values = fleet.values(rng, times)[None]
    warm = WindowStore(60)
    warm.put(decode_metrics(Template("warm/up", 2).messages(times[None], values)[0]))
    gc.collect()
    before = psutil.Process().memory_info().rss
    store = WindowStore(60)
    for name in fleet.names:
        store.put(decode_metrics(Template(name, 2).messages(times[None], values)[0]))
    gc.collect()
    after = psutil.Process().memory_info().rss
    answers.put(((after - before) / size, store.nbytes() / size))
