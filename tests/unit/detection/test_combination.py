"""Combined p-values are p-values, for detectors that agree, too."""

import numpy as np
import pytest
from scipy.stats import combine_pvalues, norm

from forewarn.detection.combination import cauchy_combination


@pytest.mark.parametrize("agreement", [0.0, 0.8, 0.99])
@pytest.mark.parametrize("level", [0.05, 0.005])
def test_false_alarms_stay_at_their_level(agreement: float, level: float) -> None:
    rng = np.random.default_rng(0)
    common, own = rng.normal(size=(200_000, 1)), rng.normal(size=(200_000, 5))
    p = norm.sf(np.sqrt(agreement) * common + np.sqrt(1 - agreement) * own)
    assert (cauchy_combination(p) <= level).mean() == pytest.approx(level, rel=0.35)


def test_fishers_sum_would_not_stay() -> None:
    rng = np.random.default_rng(0)
    p = norm.sf(np.sqrt(0.8) * rng.normal(size=(2000, 1)) + np.sqrt(0.2) * rng.normal(size=(2000, 5)))
    fisher = np.array([combine_pvalues(row).pvalue for row in p])
    assert (fisher <= 0.005).mean() > 0.02


def test_one_that_is_sure_is_heard() -> None:
    assert cauchy_combination(np.array([[1e-8, 1.0, 1.0, 0.7]]))[0] < 1e-5
    assert cauchy_combination(np.array([[1e-30, 0.5]]))[0] == pytest.approx(2e-30)


def test_who_abstains_is_left_out() -> None:
    p = cauchy_combination(np.array([[0.01, np.nan], [np.nan, np.nan]]))
    np.testing.assert_allclose(p, [0.01, 1.0])
    with pytest.raises(ValueError, match="must lie"):
        cauchy_combination(np.array([[0.0, 0.1]]))


def test_weights_choose() -> None:
    p = np.array([[0.01, 0.5]])
    assert cauchy_combination(p, np.array([1.0, 0.0]))[0] == pytest.approx(0.01)
