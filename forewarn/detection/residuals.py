"""What of a signal its own past does not explain: distances of each sample from simple causal expectations.

A sample is compared with samples before it alone. Times are seconds; samples may be missing or late: those that are
not there are not zeros, they are left out of medians.
"""

import warnings

import numpy as np
import pandas as pd
from numpy.typing import NDArray

DAY, WEEK = 86_400.0, 604_800.0
DAYS, WEEKS = 14, 4  # seasons whose median is the profile of one
FEWEST_SEASONS = 2
SHORTEST_SEASON = 8  # samples in a day, fewer make no profile
FAST, SLOW = 10, 60  # samples whose median is the level

Floats = NDArray[np.float64]


def residuals(times: Floats, values: Floats, days: int = DAYS) -> dict[str, Floats]:
    """Distances [n] by name, NaN where history is too short: jump, fast, slow, daily, daily_fast, weekly.

    jump: second difference; fast and slow: from the median of the last 10 and 60 samples; daily and weekly: from the
    median of the same time on the last `days` days and 4 weeks; daily_fast: of daily from its median over 10 samples.
    Without three days or weeks the seasonal ones are left out.
    """
    found = {
        "jump": values - 2.0 * _before(values) + _before(values, 2),
        "fast": values - _before(_median(values, FAST)),
        "slow": values - _before(_median(values, SLOW)),
    }
    if (profile := seasonal_profile(times, values, DAY, days)) is not None:
        daily = values - profile
        found["daily"], found["daily_fast"] = daily, daily - _before(_median(daily, FAST))
    if (profile := seasonal_profile(times, values, WEEK, WEEKS)) is not None:
        found["weekly"] = values - profile
    return {name: np.abs(distance) for name, distance in found.items()}


def sampling_step(times: Floats) -> float:
    """Median seconds between samples; a day where there are fewer than two."""
    steps = np.diff(times)
    steps = steps[steps > 0]
    return float(np.median(steps)) if len(steps) else DAY


def seasonal_profile(times: Floats, values: Floats, season: float, seasons: int) -> Floats | None:
    """[n] median of the same time, and a few samples around it, in up to `seasons` seasons before this one.

    season: seconds. NaN before the third season; None where there are less than three or a day holds too few samples.
    """
    if len(times) == 0:
        return None
    per_day = round(DAY / sampling_step(times))
    length = round(per_day * season / DAY)
    place = np.round((times - times[0]) / (season / max(length, 1))).astype(np.int64)
    count = int(place.max()) // max(length, 1) + 1
    if per_day < SHORTEST_SEASON or count <= FEWEST_SEASONS or place.min() < 0:
        return None
    grid = np.full(count * length, np.nan)
    grid[place] = values
    reach = int(np.clip(per_day // 100, 1, 5))
    around = pd.Series(grid).rolling(2 * reach + 1, center=True, min_periods=1).median().to_numpy()
    table, profile = around.reshape(count, length), np.full((count, length), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a time of day without any sample stays NaN
        for k in range(FEWEST_SEASONS, count):
            profile[k] = np.nanmedian(table[max(0, k - seasons) : k], axis=0)
    return np.asarray(profile.ravel()[place], dtype=np.float64)


def unrest(values: Floats, unit: float, window: int = 30) -> Floats:
    """[n] log of the standard deviation of the last `window` samples over `unit`, finite where nothing moves."""
    spread = pd.Series(values).rolling(window, min_periods=window // 2).std().to_numpy()
    return np.asarray(np.log(spread / unit + 0.05), dtype=np.float64)


def smoothed(distance: Floats, half_life: float) -> Floats:
    """Exponentially weighted mean of the past, missing distances left out; [n]."""
    mean = pd.Series(distance).ewm(halflife=half_life, ignore_na=True).mean().to_numpy()
    return np.asarray(mean, dtype=np.float64)


def _median(values: Floats, window: int) -> Floats:
    """Median of the last `window` samples including this one, of at least half as many."""
    return np.asarray(pd.Series(values).rolling(window, min_periods=window // 2).median().to_numpy(), dtype=np.float64)


def _before(values: Floats, steps: int = 1) -> Floats:
    """Values `steps` samples earlier, NaN where there were none."""
    out = np.full(len(values), np.nan)
    out[steps:] = values[:-steps] if len(values) > steps else out[steps:]
    return out
