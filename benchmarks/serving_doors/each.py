"""A BentoML service that scores rows one request at a time and by adaptive batching: to choose between them."""

import os
from pathlib import Path
from typing import Any

import bentoml
import numpy as np

from forewarn.features.definitions import FEATURE_COUNT
from forewarn.risk.bundle import load_bundle
from forewarn.risk.scorer import score

BUNDLE = "FOREWARN_BENCH_BUNDLE"  # folder of the model


@bentoml.service(name="serving_each", workers=1, logging={"access": {"enabled": False}})
class Each:
    """Two doors to the same model."""

    def __init__(self) -> None:
        self.scorer = load_bundle(Path(os.environ[BUNDLE])).scorer()

    def _score(self, features: Any) -> np.ndarray:
        scores = score(self.scorer, np.asarray(features, np.float64).reshape(-1, FEATURE_COUNT))
        return np.hstack([1 - scores.survival, scores.quantiles])

    @bentoml.api
    async def each(self, features: list[list[float]]) -> list[list[float]]:
        """Scored where it comes in."""
        return self._score(features).tolist()

    @bentoml.api(batchable=True, max_batch_size=256, max_latency_ms=5_000)
    def batched(self, features: list[list[float]]) -> list[list[float]]:
        """Rows of several requests are scored together."""
        return self._score(features).tolist()
