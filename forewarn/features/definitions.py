"""Names, windows and version of the features: one definition for stream, batch and feature store.

Time is counted in steps (window cells), so one model serves a signal sampled each minute and one sampled each
second. Every feature is dimensionless: relative to the signal's limit, to its own spread, or a count of steps.
"""

FEATURE_VERSION = "4"

MEDIUM_STEPS = 5  # steps in a cell of the medium window
COARSE_STEPS = 15  # steps in a cell of the coarse window
FINE_CELLS = 360  # 6 h at 60 s
MEDIUM_CELLS = 288  # 24 h
COARSE_CELLS = 704  # a week and eight hours
DAY_COARSE = 96  # coarse cells in 1,440 steps, a day at 60 s
WEEK_COARSE = 672
SEASON_DAYS = 7  # days whose same time of day makes the seasonal profile

HORIZON_STEPS = (15, 60, 180, 360, 1440)  # 15 min, 1 h, 3 h, 6 h, 24 h at 60 s
MAX_STEPS = 10080.0  # times to the limit are cut here, a week at 60 s

_WINDOWS = ("5m", "1h", "6h", "24h")

FEATURE_NAMES: tuple[str, ...] = (
    "ratio",  # latest value / limit
    *(f"mean_{w}" for w in _WINDOWS),
    *(f"std_{w}" for w in _WINDOWS),
    *(f"min_{w}" for w in _WINDOWS),
    *(f"max_{w}" for w in _WINDOWS),
    *(f"slope_{w}" for w in _WINDOWS),  # least squares, limits per 60 steps
    *(f"acceleration_{w}" for w in _WINDOWS[1:]),  # slope of the second half minus that of the first
    *(f"change_{w}" for w in _WINDOWS[1:]),  # latest minus the value that long ago
    "ewma_gap",  # latest minus an exponentially weighted mean (half-life 30 steps)
    "day_diff",  # minus the same time yesterday
    "day_z",
    "week_diff",
    "week_z",
    "season_diff",  # minus the median of the same time of the last days (cells at the limit are left out)
    "season_z",
    *(f"season_rise_{h}" for h in ("1h", "3h", "6h")),  # what that median does in the hours that come now
    *(f"residual_slope_{h}" for h in ("1h", "3h", "6h")),  # of what the season does not explain, limits per 60 steps
    *(f"projected_{h}" for h in ("1h", "3h", "6h")),  # ratio + season_rise + residual slope of 3 h, that far ahead
    *(f"log_steps_projected_{h}" for h in ("1h", "3h", "6h")),  # ln(1 + steps) until that path reaches the limit
    "distance",  # 1 - ratio
    *(f"log_steps_to_limit_{w}" for w in _WINDOWS[1:]),  # ln(1 + distance / slope), at most ln(1 + MAX_STEPS)
    "robust_slope_1h",  # median of half-window differences (a Theil-Sen estimate), limits per 60 steps
    "robust_slope_6h",
    "robust_slope_24h",
    "log_steps_to_limit_robust",
    "rising_1h",  # share of consecutive differences that rise
    "rising_6h",
    "drop_6h",  # largest fall between neighbouring medium cells: rotation, garbage collection
    "drop_24h",
    "new_high",  # latest minus the highest of the week that no failure followed within six hours
    "failed_share_24h",  # share of the last day at or above the limit
    "missing_1h",
    "missing_24h",
    "log_history",  # ln(1 + steps since the series began)
    "load_slope_1h",  # of the entity's request rate, relative to its mean
    "load_day_ratio",  # ln(request rate / yesterday's)
    "use_per_load_day",  # ln(use per request / yesterday's)
    "error_ratio",  # of the entity, mean of the last five minutes
    "latency_ratio",  # ln(latency of five minutes / latency of the day)
    "log_steps_ramp",  # ln(1 + steps) until the ramp that the series is on reaches the limit, see ramp_kernel
    "ramp_age",  # ln(1 + steps) since it began
    "ramp_explained",  # share of the variance that 'level, then line' explains
    "ramp_slope",  # limits per 60 steps
    "ramp_bend",  # slope of its second half over that of the first
    "ramp_rise",  # how far it has come
)

FEATURE_COUNT = len(FEATURE_NAMES)
INDEX = {name: i for i, name in enumerate(FEATURE_NAMES)}
