"""The anomaly watches of a stream: one for each engine, set by the false-alarm budget of the settings."""

from math import ceil

import numpy as np

from forewarn.config.settings import Settings
from forewarn.detection.channels import BLOCKS, learn
from forewarn.detection.false_alarm_budget import FalseAlarmBudget
from forewarn.risk.anomaly_watch import AnomalyWatch
from forewarn.risk.engine import RiskEngine
from forewarn.risk.records import AnomalyObserved
from forewarn.services.told import Told
from forewarn.telemetry.samples import namespace_of

_MOST_LAG = 40  # cells; the windows hold so many more than the watch learns from


def budget_of(settings: Settings) -> FalseAlarmBudget | None:
    """The budget that the user stated, None where anomalies are off. Raises ValueError that names the variable."""
    words = settings.false_alarm_budget.strip()
    if words.lower() in ("", "none"):
        return None
    try:
        return FalseAlarmBudget.parse(words)
    except ValueError as error:
        raise ValueError(f"FOREWARN_FALSE_ALARM_BUDGET: {error}; or 'none'") from error


class AnomalyStream:
    """Steps the watch of each engine. Raises ValueError where the budget cannot be read."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._budget = budget_of(settings)
        self._watches: dict[tuple[int, str], tuple[RiskEngine, AnomalyWatch]] = {}
        if self._budget is not None:
            learned, _ = learn(np.zeros((1, BLOCKS)), np.zeros(1, np.int64))
            learned.step(np.zeros(1))  # both are compiled before the stream waits for them

    @property
    def watched(self) -> int:
        """Entities with enough history."""
        return sum(watch.watched for _, watch in self._watches.values())

    def step(self, key: tuple[int, str], engine: RiskEngine, end: int, told: Told) -> list[AnomalyObserved]:
        """Anomalies that open or end up to cell `end`; call it before the engine assesses that cell."""
        if self._budget is None:
            return []
        held = self._watches.get(key)
        if held is None or held[0] is not engine:
            held = self._watches[key] = engine, self._watch(engine, self._budget, told)
        return held[1].step(end)

    def drop(self, partitions: set[int]) -> None:
        """Forget the watches of these partitions: others have them now."""
        self._watches = {key: held for key, held in self._watches.items() if key[0] not in partitions}

    def _watch(self, engine: RiskEngine, budget: FalseAlarmBudget, told: Told) -> AnomalyWatch:
        watch = AnomalyWatch(engine.windows, engine.step_seconds, budget, self._derived_lag(engine.step_seconds))
        for entity, anomalies in told.anomalies.items():
            if namespace_of(entity) == engine.namespace:
                watch.restore(anomalies)
        return watch

    def _derived_lag(self, step_seconds: float) -> int:
        """Cells by which what the connector derives comes later than the cell that is scored."""
        s = self._settings
        bucket = max(s.connector_bucket_seconds, step_seconds)
        late = ceil((bucket + s.connector_allowance_seconds) / step_seconds) + 1
        return min(max(late - ceil(s.lateness_seconds / step_seconds), 0), _MOST_LAG)
