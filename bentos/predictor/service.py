"""BentoML service of the predictor: the stream, and the same scoring path over HTTP."""

import os
import threading
from datetime import UTC, datetime
from typing import Any

import bentoml
import numpy as np
import structlog

from bentos.predictor.champion import Champion
from bentos.predictor.online_features import OnlineFeatures
from bentos.predictor.service_graph import ServiceGraphWatch
from forewarn.config.settings import Settings
from forewarn.features.definitions import FEATURE_COUNT, FEATURE_VERSION, HORIZON_STEPS
from forewarn.risk.scorer import score
from forewarn.services.heartbeat import Heartbeat
from forewarn.services.lifecycle import configure_logging
from forewarn.services.metrics import exposition
from forewarn.services.prediction_stream import Latest, PredictionStream

logger = structlog.get_logger(__name__)


@bentoml.service(name="forewarn_predictor", workers=1, traffic={"timeout": 30, "max_concurrency": 64})
class Predictor:
    """Scores the stream and answers questions about it."""

    def __init__(self) -> None:
        self.settings = Settings()
        configure_logging(self.settings)
        url = self.settings.postgres_url.get_secret_value()
        self.champion = Champion(url)
        self.champion.start()
        self.stream = PredictionStream(self.settings, self.champion.scorer)
        self.service_graph = ServiceGraphWatch(url, self._learn_calls)
        self.service_graph.start()
        self.heartbeat = Heartbeat(url, "predictor", f"predictor-{os.getpid()}")
        self.heartbeat.counters = self.stream.counters
        self.heartbeat.__enter__()
        self.thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self.thread.start()
        self.online: OnlineFeatures | None = None
        if self.settings.feast_push:
            self.online = OnlineFeatures(self.stream.latest, self.settings.home.absolute())
            self.online.start()

    def _learn_calls(self, calls: dict[str, set[str]]) -> None:
        self.stream.calls = calls

    def _run(self) -> None:
        try:
            self.stream.run()
        except Exception:  # whatever ends the stream must end the process: the supervisor starts it anew
            logger.exception("the stream broke")
            os._exit(70)

    @bentoml.on_shutdown
    def shutdown(self) -> None:
        """Stop the stream, the champion watch and the heartbeat."""
        if self.online is not None:
            self.online.stop()
        self.stream.stop()
        self.thread.join(timeout=10)
        self.champion.stop()
        self.service_graph.stop()
        self.heartbeat.__exit__(None, None, None)

    def __is_ready__(self) -> bool:
        """Whether the stream has its partitions; BentoML asks it for `/readyz`."""
        return self.stream.ready.is_set()

    async def __metrics__(self, text: str) -> str:
        """What BentoML tells Prometheus at `/metrics`, and what the stream counts."""
        return text + exposition("predictor", self.stream.counters)

    @bentoml.api
    def predict(self, features: list[list[float | None]], feature_version: str = FEATURE_VERSION) -> dict[str, Any]:
        """Scores of rows of features, by the model that serves the stream.

        Each row has one number (or null: missing) for each of `forewarn.features.definitions.FEATURE_NAMES`, in
        that order. Answers the probability of failure within each horizon and the 10, 50 and 90 % quantile of the
        steps to it.
        """
        if feature_version != FEATURE_VERSION:
            raise bentoml.exceptions.InvalidArgument(
                f"these are features of version {feature_version}, the model needs {FEATURE_VERSION}"
            )
        if any(len(row) != FEATURE_COUNT for row in features):
            raise bentoml.exceptions.InvalidArgument(
                f"each row must have {FEATURE_COUNT} numbers, those of forewarn.features.definitions.FEATURE_NAMES"
            )
        scorer = self.champion.scorer()
        scores = score(scorer, np.array(features, np.float64).reshape(-1, FEATURE_COUNT))
        return {
            "model_version": scorer.version,
            "horizon_steps": list(HORIZON_STEPS),
            "probability": (1 - scores.survival).round(6).tolist(),
            "steps_to_failure": scores.quantiles.round(3).tolist(),
        }

    @bentoml.api
    def forecast(self, entity: str = "", at_least: float = 0.0) -> dict[str, Any]:
        """What the stream says now: each limited signal (of one entity, or all) with its probability and time.

        at_least: only signals whose probability within the paging horizon is so high.
        """
        rows = [row for latest in list(self.stream.latest.values()) for row in _rows(latest, entity, at_least)]
        return {"asked_at": datetime.now(UTC).isoformat(), "signals": sorted(rows, key=lambda r: -r["probability"])}

    @bentoml.api
    def status(self) -> dict[str, Any]:
        """The model that serves, and the stream's counters."""
        scorer = self.champion.scorer()
        return {
            "model_version": scorer.version,
            "threshold": scorer.threshold,
            "feature_version": FEATURE_VERSION,
            "counters": dict(self.stream.counters),
        }


def _rows(latest: Latest, entity: str, at_least: float) -> list[dict[str, Any]]:
    found = []
    for i, series in enumerate(latest.series):
        probability = float(latest.scores.probability[i])
        if (entity and series.entity != entity) or probability < at_least or np.isnan(latest.values[i]):
            continue
        p10, p50, p90 = (latest.scores.quantiles[i] * latest.step_seconds).round(1).tolist()
        found.append(
            {
                "entity": series.entity,
                "signal": series.name,
                "value": float(latest.values[i]),
                "limit": float(latest.limits[i]),
                "unit": series.unit,
                "probability": round(probability, 6),
                "seconds_to_failure": {"p10": p10, "p50": p50, "p90": p90},
                "at": latest.at.isoformat(),
                "model_version": latest.model_version,
            }
        )
    return found
