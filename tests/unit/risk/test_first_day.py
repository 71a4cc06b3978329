"""The first-day scorer: its packaged model fits this program, sees ramps, and waits while a series is young."""

import json
from pathlib import Path

import numpy as np
import pytest

from forewarn.classification.hazard import HazardModel
from forewarn.evaluation.first_day import rows, write
from forewarn.features.batch import features_at
from forewarn.features.definitions import FEATURE_VERSION, HORIZON_STEPS
from forewarn.forecasting.time_to_failure import TimeToFailureModel
from forewarn.risk import first_day
from forewarn.risk.first_day import FirstDayError, FirstDayScorer, load
from forewarn.risk.scorer import PAGING_HORIZON

STEPS = np.arange(700)


def _scored(y: np.ndarray, at: int) -> tuple[float, np.ndarray]:
    noisy = (y + np.random.default_rng(0).normal(0, 0.002, len(y))).astype(np.float32)[None]
    features = features_at(noisy, np.ones_like(noisy), np.array([at]))[:, 0]
    scorer = FirstDayScorer()
    return 1 - float(scorer.survival(features)[0, PAGING_HORIZON]), scorer.quantiles(features)[0]


def test_the_packaged_model_was_learned_on_these_features() -> None:
    about = json.loads((first_day.FOLDER / first_day.MANIFEST).read_text())
    assert about["feature_version"] == FEATURE_VERSION, "run python -m forewarn.evaluation.first_day"
    load()


def test_a_leak_is_told_with_a_time_that_holds() -> None:
    probability, (p10, p50, p90) = _scored(0.2 + 0.8 * STEPS / 500, 350)
    assert probability > FirstDayScorer().threshold
    assert p10 < 150 < p90
    assert 100 < p50 < 225


@pytest.mark.parametrize(
    "y",
    [
        np.full(700, 0.6),
        0.3 + 0.5 * (STEPS % 60) / 60,
        0.2 + 0.6 * -np.expm1(-STEPS / 80),
        0.5 + 0.3 * np.sin(STEPS / 40),
    ],
    ids=["flat", "sawtooth", "plateau", "waves"],
)
def test_look_alikes_are_not_told(y: np.ndarray) -> None:
    assert _scored(y, 500)[0] < FirstDayScorer().threshold


def test_a_young_series_is_not_told_whatever_it_does() -> None:
    assert _scored(0.2 + 0.8 * STEPS / 200, 80)[0] < 0.1


def test_survival_never_grows_with_the_horizon_and_quantiles_are_in_order() -> None:
    features, _, _ = rows(9, 500)
    scorer = FirstDayScorer()
    survival, quantiles = scorer.survival(features[:400]), scorer.quantiles(features[:400])
    assert survival.shape == (400, len(HORIZON_STEPS))
    assert (np.diff(survival, axis=1) <= 1e-9).all()
    assert (np.diff(quantiles, axis=1) >= 0).all()


def test_a_model_of_other_features_is_refused(tmp_path: Path) -> None:
    hazard, time = load()
    assert isinstance(hazard, HazardModel) and isinstance(time, TimeToFailureModel)
    write(tmp_path, hazard, time, seed=0, series=0)
    about = json.loads((tmp_path / first_day.MANIFEST).read_text())
    (tmp_path / first_day.MANIFEST).write_text(json.dumps(about | {"feature_version": "0"}))
    with pytest.raises(FirstDayError, match="features of version 0"):
        load(tmp_path)
