"""The hazard model: learns ramps, survives round trips, explains exactly, is calibrated and fast."""

from pathlib import Path

import numpy as np
import pytest

from forewarn.classification.hazard import HazardModel

HORIZONS = (15, 60, 180, 360, 1440)
NAMES = ("steps_at_slope", "noise_a", "noise_b")


def ramps(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Subjects whose time to failure is an exponential around what their first feature says; half never fail."""
    rng = np.random.default_rng(seed)
    expected = np.exp(rng.uniform(2, 8, n))
    failure = np.where(rng.random(n) < 0.5, rng.exponential(expected), np.inf)
    seen = rng.uniform(200, 3000, n)
    X = np.column_stack([np.log(expected), rng.normal(size=(n, 2))]).astype(np.float32)
    X[rng.random(X.shape) < 0.05] = np.nan
    return X, np.where(failure <= seen, failure, np.inf), seen


@pytest.fixture(scope="module")
def model() -> HazardModel:
    """Learned on one draw, calibrated on another."""
    fitted = HazardModel.fit(*ramps(6000, 1), seed=3, feature_names=NAMES, horizons=HORIZONS, rounds=800)
    return fitted.calibrate(*ramps(3000, 2))


def test_survival_never_grows_with_the_horizon(model: HazardModel) -> None:
    survival = model.survival(ramps(500, 5)[0])
    assert survival.shape == (500, len(HORIZONS))
    assert (np.diff(survival, axis=1) <= 0).all()
    assert ((survival > 0) & (survival < 1)).all()


def test_probabilities_are_calibrated_on_unseen_subjects(model: HazardModel) -> None:
    X = ramps(6000, 7)[0]
    expected = np.exp(X[:, 0])
    known = ~np.isnan(expected)
    truth = 0.5 * (1 - np.exp(-np.array(HORIZONS) / expected[known, None]))
    error = (1 - model.survival(X[known])) - truth
    assert np.abs(error.mean(axis=0)).max() < 0.03
    assert np.abs(error).mean() < 0.06


def test_censoring_does_not_look_like_health() -> None:
    """Everyone fails at 100 or later, but most are watched for 30 steps only: the risk stays what it is."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(8000, 3)).astype(np.float32)
    failure = rng.exponential(100.0, 8000)
    seen = np.where(rng.random(8000) < 0.7, rng.uniform(1, 120, 8000), 2000.0)
    model = HazardModel.fit(
        X, np.where(failure <= seen, failure, np.inf), seen, feature_names=NAMES, horizons=HORIZONS, rounds=100
    )
    assert model.survival(X).mean(axis=0)[:3] == pytest.approx(np.exp(-np.array([0.15, 0.6, 1.8])), abs=0.06)


def test_contributions_add_up_to_the_log_odds(model: HazardModel) -> None:
    X = ramps(40, 9)[0]
    contributions = model.contributions(X)
    assert contributions.shape == X.shape
    assert np.abs(contributions[:, 0]).mean() > 3 * np.abs(contributions[:, 1:]).mean()
    by_bin = model.shap_by_bin(X)
    hazard = model.hazard(X)
    log_odds = by_bin.sum(axis=2).T * model.slope + model.intercept
    np.testing.assert_allclose(log_odds, np.log(hazard / (1 - hazard)), atol=1e-6)
    np.testing.assert_allclose(contributions, (by_bin[:, :, :-2] * model.slope[:, None, None]).sum(axis=0))


def test_saved_model_says_the_same(model: HazardModel, tmp_path: Path) -> None:
    X = ramps(200, 11)[0]
    model.save(tmp_path)
    assert not list(tmp_path.glob("*.pkl")) and not list(tmp_path.glob("*.joblib"))
    np.testing.assert_array_equal(HazardModel.load(tmp_path).survival(X), model.survival(X))


def test_same_seed_same_model() -> None:
    draw = ramps(1500, 4)
    first, second = (
        HazardModel.fit(*draw, seed=5, feature_names=NAMES, horizons=HORIZONS, rounds=20) for _ in range(2)
    )
    np.testing.assert_array_equal(first.survival(draw[0]), second.survival(draw[0]))


def test_weight_moves_the_base_rate() -> None:
    X, failure, seen = ramps(4000, 6)
    failed = np.isfinite(failure)
    heavy = HazardModel.fit(
        X, failure, seen, np.where(failed, 1.0, 10.0), feature_names=NAMES, horizons=HORIZONS, rounds=80
    )
    even = HazardModel.fit(X, failure, seen, feature_names=NAMES, horizons=HORIZONS, rounds=80)
    assert heavy.survival(X).mean() > even.survival(X).mean() + 0.1


def test_wrong_width_and_empty_input_are_told(model: HazardModel) -> None:
    assert model.survival(np.empty((0, 3))).shape == (0, len(HORIZONS))
    with pytest.raises(ValueError, match="2 features given, the model was trained on 3"):
        model.survival(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="no row to learn from"):
        HazardModel.fit(np.zeros((2, 3)), np.full(2, np.nan), np.ones(2), feature_names=NAMES)
