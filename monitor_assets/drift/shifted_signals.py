"""Which limited signals of a namespace's history moved for good since the models last learned from it."""

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from forewarn.evaluation.lifecycle.level_shift import (
    F64,
    LevelShift,
    hourly,
    level_shift,
    usual_steps,
    without_incidents,
)
from forewarn.features.context import context_of
from monitor_assets.history import SignalWindows

DAY_SECONDS = 86_400.0


def shifted_signals(windows: SignalWindows, seen_until: datetime) -> dict[str, LevelShift]:
    """'entity signal' -> how the newest day lies beside the days before `seen_until`, for every limited signal that
    can be judged."""
    width = round(DAY_SECONDS / windows.step_seconds)
    cells = windows.cells.shape[1]
    seen = round((seen_until.timestamp() * 1e9 - windows.start_ns) / windows.step_ns)
    # whole days back from the newest cell; the newest day itself is no reference
    reference = max(min(cells // width - 1, cells // width - -(-(cells - seen) // width)), 0)
    load_of = context_of(windows.series).load
    loads = _loads(windows, np.unique(load_of[load_of >= 0]))
    shared = _shared(loads, reference)
    found = {}
    for i in windows.limited:
        use = without_incidents(windows.cells[i] / windows.limits[i], windows.step_seconds)
        steps = usual_steps(use, windows.step_seconds)
        load = loads.get(int(load_of[i]), shared)
        shift = level_shift(hourly(use, windows.step_seconds), steps, load, reference)
        if shift is not None:
            found[windows.series[i].id] = shift
    return found


def moved(judged: dict[str, LevelShift]) -> dict[str, float]:
    """Those that moved beyond chance and by how much of their limit, the surest first."""
    beyond = [(name, one) for name, one in judged.items() if one.moved(len(judged))]
    return {name: one.shift for name, one in sorted(beyond, key=lambda item: item[1].chance)}


def _loads(windows: SignalWindows, index: NDArray[np.int64]) -> dict[int, F64]:
    return {int(i): hourly(windows.cells[i], windows.step_seconds) for i in index}


def _shared(loads: dict[int, F64], reference: int) -> F64 | None:
    """Load of the namespace, for entities that tell none: the mean of all, each beside its own usual load."""
    if not loads or not reference:
        return None
    usual = {i: float(np.nanmean(load[:reference])) for i, load in loads.items() if np.isfinite(load[:reference]).any()}
    each = [loads[i] / level for i, level in usual.items() if level > 0]
    return np.asarray(np.mean(each, axis=0)) if each else None
