"""Fixtures with small models of every kind, and a model store of their own."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from forewarn.risk.bundle import Manifest, ModelBundle

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def feature_rows() -> np.ndarray:
    """Rows whose first feature tells the time to failure, float64 [600, F]."""
    from forewarn.features.definitions import FEATURE_COUNT

    X = np.random.default_rng(0).normal(size=(600, FEATURE_COUNT))
    X[:, 3] = np.nan
    return X


@pytest.fixture(scope="session")
def bundle(feature_rows: np.ndarray) -> ModelBundle:
    """A bundle, version 20260101-120000."""
    from forewarn.classification.hazard import HazardModel
    from forewarn.detection.isolation_forest import IsolationForestDetector
    from forewarn.forecasting.time_to_failure import TimeToFailureModel

    steps = 100 * np.exp(feature_rows[:, 0])
    detector = IsolationForestDetector(trees=8)
    detector.learn(feature_rows)
    return ModelBundle(
        Manifest("20260101-120000", NOON, NOON, NOON, 0.4, {"load": "neural"}, metrics={"recall": {"value": 1.0}}),
        HazardModel.fit(feature_rows, steps, np.full(600, 2000.0), rounds=5),
        TimeToFailureModel.fit(feature_rows, steps, 0),
        detector,
    )


@pytest.fixture
def bentoml_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty model store."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("BENTOML_DO_NOT_TRACK", "True")
    (tmp_path / "bentoml" / "models").mkdir(parents=True)
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.models import ModelStore

    BentoMLContainer.model_store.set(ModelStore(tmp_path / "bentoml" / "models"))  # read once a process otherwise
    yield tmp_path / "bentoml"
    BentoMLContainer.model_store.reset()
