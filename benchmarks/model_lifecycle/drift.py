"""Whether a release that doubles the memory per request of one service is taken for drift, and a plain week is not.

Simulated shops with eight days of history and its incidents, then a week in which nothing changes, or a day after such
a release of one service, the services in turn. Beside our rule Evidently's data drift preset as it comes, on the same
signals as shares of their limits: history beside the newest day.

`FOREWARN_BENCH_SEEDS` (20) makes it smaller; after `FOREWARN_BENCH_MINUTES` (60) no other shop is begun.
"""

import os
import time
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from benchmarks.report import Result, at_least, at_most
from forewarn.features.grid import grid_start, limits_grid, to_grids
from forewarn.simulation import schedule
from forewarn.simulation.recording import Recording
from forewarn.simulation.simulate import simulate
from forewarn.simulation.topology import SERVICES
from monitor_assets.drift.shifted_signals import moved, shifted_signals
from monitor_assets.history import SignalWindows

SEEDS = range(100, 100 + int(os.environ.get("FOREWARN_BENCH_SEEDS", 20)))  # others were used to choose the rule
HISTORY_DAYS, WEEK_DAYS = 8, 7
REPORT_HOURS = 6  # as the schedule has them
STEP_SECONDS, DAY = 60.0, 1440
MATERIAL = 0.01  # of the limit
MEMORY = "process.memory.usage"
_MOST_ROWS = 3_000  # of the reference for Evidently, as in the drift report


def record(seed: int, days: int, released: str | None) -> Recording:
    """A shop; the service `released` gets its release when history ends."""
    rng = np.random.default_rng([seed, 99])
    start = datetime(2026, 3, 2, tzinfo=UTC) + timedelta(hours=int(rng.integers(0, 24 * 28)))
    releases = [schedule.Release(released, HISTORY_DAYS * 86_400.0, 2.0)] if released else []
    injections = schedule.history(HISTORY_DAYS + WEEK_DAYS, seed)
    hours = 24 * (HISTORY_DAYS + days)
    return simulate(start, hours, STEP_SECONDS, seed, injections, "shop", releases=releases)


def windows_of(recording: Recording) -> SignalWindows:
    """As the pipeline makes them."""
    series = [s for entity in recording.entities for s in entity.series]
    values = np.vstack([entity.values for entity in recording.entities])
    start = grid_start(int(recording.times_ns[0]), STEP_SECONDS)
    index, at = np.nonzero(~np.isnan(values))
    kinds = [s.kind for s in series]
    cells = len(recording.times_ns)
    grid = to_grids(
        index.astype(np.int32), recording.times_ns[at], values[index, at], kinds, start, STEP_SECONDS, cells
    )
    return SignalWindows(series, grid, limits_grid(grid, series), start, STEP_SECONDS)


def known_at(windows: SignalWindows, cell: int) -> SignalWindows:
    """What was known at the start of a cell."""
    return SignalWindows(
        windows.series, windows.cells[:, :cell], windows.limits[:, :cell], windows.start_ns, windows.step_seconds
    )


def ours(windows: SignalWindows, cell: int) -> list[str]:
    """Signals that our rule says have moved, at a cell."""
    seen = windows.time_of(HISTORY_DAYS * DAY)
    return list(moved(shifted_signals(known_at(windows, cell), seen)))


def evidently(windows: SignalWindows, cell: int) -> tuple[float, list[str]]:
    """Share of the columns that drifted, and which, by Evidently's preset with nothing set."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    limited = windows.limited
    names = [windows.series[i].id for i in limited]
    use = (windows.cells[limited] / windows.limits[limited]).T
    rows = np.random.default_rng(1).permutation(HISTORY_DAYS * DAY)[:_MOST_ROWS]
    frames = [pd.DataFrame(part, columns=names) for part in (use[cell - DAY : cell], use[rows])]
    definition = DataDefinition(numerical_columns=names)
    data = [Dataset.from_pandas(frame, data_definition=definition) for frame in frames]
    found = Report([DataDriftPreset()]).run(*data).dict()["metrics"]
    count = next(m["value"] for m in found if isinstance(m["value"], dict) and "share" in m["value"])
    return float(count["share"]), _columns(found)


def _columns(metrics: Sequence[dict]) -> list[str]:
    """Columns beyond the threshold of their test: p-values below it, distances above."""
    drifted = []
    for metric in metrics:
        config = metric.get("config", {})
        if config.get("column") and isinstance(metric["value"], int | float):
            value, threshold = metric["value"], config.get("threshold") or 0.1
            by_chance = "p_value" in str(config.get("method", ""))
            if value < threshold if by_chance else value >= threshold:
                drifted.append(config["column"])
    return drifted


def measure() -> list[Result]:
    """False drift in plain weeks, and releases that are seen within a day."""
    warnings.filterwarnings("ignore")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    plain: list[dict[str, float]] = []
    changed: list[dict[str, float | str]] = []
    until = time.monotonic() + 60 * float(os.environ.get("FOREWARN_BENCH_MINUTES", 60))
    for k, seed in enumerate(SEEDS):
        if time.monotonic() < until:
            changed.append(_changed(seed, SERVICES[k % len(SERVICES)]))
            plain.append(_plain(seed))
    return [*_false(plain), *_seen(changed)]


def _plain(seed: int) -> dict[str, float]:
    windows = windows_of(record(seed, WEEK_DAYS, None))
    first = HISTORY_DAYS * DAY
    hours = REPORT_HOURS * 60
    reports = [ours(windows, cell) for cell in range(first + hours, first + WEEK_DAYS * DAY + 1, hours)]
    share, columns = evidently(windows, first + DAY)
    found = {
        "reports": sum(map(bool, reports)) / len(reports),
        "ours": float(any(reports)),
        "share": float(share >= 0.5),
        "columns": len(columns) / len(windows.limited),
    }
    print(f"  plain week {seed}: {next((names for names in reports if names), 'no drift')}; {found}", flush=True)
    return found


def _changed(seed: int, service: str) -> dict[str, float | str]:
    windows, unchanged = (windows_of(record(seed, 1, released)) for released in (service, None))
    cell, name = (HISTORY_DAYS + 1) * DAY, f"shop/{service}|{MEMORY}"
    i = next(i for i in windows.limited if windows.series[i].id == name)
    more = (windows.cells[i] - unchanged.cells[i])[cell - DAY : cell] / windows.limits[i, cell - 1]
    shift = float(np.nanmedian(more))  # what the release really costs
    told, (share, columns) = ours(windows, cell), evidently(windows, cell)
    seen = "seen" if name in told else "not seen"
    print(f"  release of {service} {seed}: {seen}, {100 * shift:+.1f} % of the limit", flush=True)
    return {
        "service": service, "shift": shift, "ours": float(name in told), "share": float(share >= 0.5),
        "column": float(name in columns),
    }  # fmt: skip


def _mean(rows: Sequence[dict], key: str) -> float:
    return float(np.mean([row[key] for row in rows]))


def _false(plain: Sequence[dict[str, float]]) -> list[Result]:
    note = f"{len(plain)} shops, {HISTORY_DAYS} days of history; a report every {REPORT_HOURS} h"
    beside = {
        "Evidently's default, first day, half of the columns": _mean(plain, "share"),
        "Evidently's default, first day, share of the columns": _mean(plain, "columns"),
    }
    return [
        at_most("drift: plain weeks taken for drift", _mean(plain, "ours"), "share", 0.1, baselines=beside, note=note),
        Result("drift: reports of plain weeks that tell of drift", _mean(plain, "reports"), "share", note=note),
    ]


def _seen(changed: Sequence[dict]) -> list[Result]:
    services = [(name, [r for r in changed if r["service"] == name]) for name in SERVICES]
    by_service = "; ".join(
        f"{name} {sum(r['ours'] for r in own):.0f} of {len(own)} ({100 * _mean(own, 'shift'):+.1f} %)"
        for name, own in services
        if own
    )
    large = [r for r in changed if abs(r["shift"]) >= MATERIAL]
    text = f"memory per request of one service doubles; by service, with what that adds, of the limit: {by_service}"
    some = f"{len(large)} of {len(changed)} releases"
    name = f"drift: releases that add {MATERIAL:.0%} of the limit or more, seen after a day"
    return [
        Result(
            "drift: releases seen after a day", _mean(changed, "ours"), "share", baselines=_beside(changed), note=text
        ),
        at_least(name, _mean(large, "ours"), "share", 0.8, baselines=_beside(large), note=some),
    ]


def _beside(changed: Sequence[dict]) -> dict[str, float]:
    return {
        "Evidently's default, half of the columns": _mean(changed, "share"),
        "Evidently's default, that column": _mean(changed, "column"),
    }
