"""Writes what champion and shadow said, and how they do, to PostgreSQL: in batches, from a thread, never in the way."""

import threading
from collections import deque
from collections.abc import MutableMapping, Sequence

import psycopg
import structlog

from bentos.predictor.model_health import ModelHealth
from bentos.predictor.periodic import Periodic
from forewarn.stores import model_health, shadow_predictions
from forewarn.stores.model_health import HealthMinute
from forewarn.stores.shadow_predictions import ShadowPrediction

logger = structlog.get_logger(__name__)

_KEPT = 200_000  # predictions that wait for PostgreSQL; beyond, the oldest are lost
_AT_ONCE = 20_000  # predictions of a transaction
_MINUTES_KEPT = 1_000


class Comparison(Periodic):
    """Keeps predictions until they are stored. counters: `shadow_predictions_lost_total` counts those that were not."""

    def __init__(
        self, postgres_url: str, health: ModelHealth, counters: MutableMapping[str, float], period_seconds: float = 2.0
    ) -> None:
        super().__init__("comparison", period_seconds)
        self._url = psycopg.conninfo.make_conninfo(postgres_url, connect_timeout=3, application_name="predictor")
        self._health, self._counters = health, counters
        self._waiting: deque[Sequence[ShadowPrediction]] = deque()
        self._count = 0
        self._minutes: dict[tuple[str, str, object], HealthMinute] = {}
        self._lock = threading.Lock()
        self._away = False
        counters["shadow_predictions_lost_total"] = 0

    def keep(self, predictions: Sequence[ShadowPrediction]) -> None:
        """Store these soon, in one transaction."""
        if not predictions:
            return
        with self._lock:
            self._waiting.append(predictions)
            self._count += len(predictions)
            while self._count > _KEPT and len(self._waiting) > 1:
                lost = len(self._waiting.popleft())
                self._count -= lost
                self._counters["shadow_predictions_lost_total"] += lost

    def told_before(self, version: str) -> Sequence[ShadowPrediction]:
        """What a model would have told before; () while PostgreSQL is away."""
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                return shadow_predictions.told(connection, version)
        except psycopg.Error as error:
            logger.warning("what the shadow would have told before is not known", error=str(error).strip())
            return ()

    def _finish(self) -> None:
        self._look()

    def _look(self) -> None:
        self._health.latencies()
        for minute in self._health.drain():
            self._minutes[(minute.model_version, minute.role, minute.minute)] = minute
        if not self._minutes and not self._waiting:
            return
        try:
            with psycopg.connect(self._url) as connection:
                self._store(connection)
            self._away = False
        except psycopg.Error as error:
            if not self._away:
                logger.warning("comparison of models waits, PostgreSQL cannot be reached", error=str(error).strip())
            self._away = True
            for key in list(self._minutes)[:-_MINUTES_KEPT]:
                del self._minutes[key]

    def _store(self, connection: psycopg.Connection) -> None:
        model_health.write(connection, self._minutes.values())
        connection.commit()
        self._minutes.clear()
        while batches := self._take():
            try:
                shadow_predictions.write(connection, [prediction for batch in batches for prediction in batch])
                connection.commit()
            except psycopg.Error:
                with self._lock:
                    self._waiting.extendleft(reversed(batches))
                    self._count += sum(map(len, batches))
                raise

    def _take(self) -> list[Sequence[ShadowPrediction]]:
        taken, count = [], 0
        with self._lock:
            while self._waiting and count < _AT_ONCE:
                taken.append(self._waiting.popleft())
                count += len(taken[-1])
            self._count -= count
        return taken
