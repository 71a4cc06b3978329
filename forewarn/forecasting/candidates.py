"""The forecasters that compete for a set of signals."""

from forewarn.forecasting.conformal import Calibrated
from forewarn.forecasting.direct import BoostedQuantiles, PooledRidge
from forewarn.forecasting.forecaster import Forecaster, PointForecaster, Seasons
from forewarn.forecasting.seasonal_profile import SeasonalProfile
from forewarn.forecasting.simple import Drift, Naive, SeasonalNaive
from forewarn.forecasting.tuned_profile import TunedProfile

_PROFILES = ((1.0, 1, 0.003), (1.0, 3, 0.05), (0.6, 3, 0.06), (0.35, 1, 0.02), (0.35, 3, 0.3), (0.2, 3, 0.3))


def point_candidates(seasons: Seasons, cells: int) -> list[PointForecaster]:
    """The simplest first. Those of a season take part where the past of `cells` holds it often enough."""
    hour = max(seasons.day // 24, 1)
    seen = cells >= 3 * seasons.day  # a season seen less often is none yet, and the last value is the simplest
    made: list[PointForecaster] = [SeasonalNaive(seasons.day), Naive()] if seen else [Naive()]
    made += [Drift(6 * hour, 0.5), Drift(24 * hour, 0.5), Drift(24 * hour)]
    if seen:
        made += [SeasonalProfile(seasons, *shape) for shape in _PROFILES]
    if cells >= 5 * seasons.day:
        made.append(TunedProfile(seasons))
    if cells >= 8 * seasons.day:
        made.append(SeasonalProfile(seasons, 0.0, 3, 0.3))
    if cells >= 2 * seasons.week + seasons.day:
        made.append(SeasonalProfile(seasons, 0.35, 3, 0.05, 0.3))
    return made


def candidates(seasons: Seasons, cells: int, seed: int = 0) -> list[Forecaster]:
    """Point candidates with intervals from their errors, and the direct regressions over all series."""
    made: list[Forecaster] = [Calibrated(point, seasons.day) for point in point_candidates(seasons, cells)]
    return [*made, Calibrated(PooledRidge(seasons), seasons.day), BoostedQuantiles(seasons, seed)]
