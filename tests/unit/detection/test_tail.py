"""Beyond the highest usual score, p-values fall on, and at the right rate where the tail is a power law."""

import numpy as np
import pytest

from forewarn.detection.empirical import empirical_p_value, reference_scores, tail_p_value
from forewarn.detection.ensemble import DetectorEnsemble


def test_continues_a_power_law() -> None:
    reference = reference_scores(1 + np.random.default_rng(0).pareto(2.0, size=4000))
    scores = np.array([20.0, 100.0, 1000.0])
    ratio = np.log(tail_p_value(scores, reference)) / np.log(scores**-2.0)
    np.testing.assert_allclose(ratio, 1.0, atol=0.15)


def test_agrees_with_counting_within_the_reference() -> None:
    reference = reference_scores(np.random.default_rng(1).exponential(size=3000))
    scores = np.linspace(0, np.quantile(reference, 0.97), 50)
    np.testing.assert_array_equal(tail_p_value(scores, reference), empirical_p_value(scores, reference))


def test_never_rises_with_the_score() -> None:
    reference = reference_scores(np.random.default_rng(2).exponential(size=500))
    assert (np.diff(tail_p_value(np.linspace(0, 1e6, 5000), reference)) <= 1e-12).all()
    assert tail_p_value(np.array([1e300]), reference)[0] > 0


@pytest.mark.parametrize("reference", [np.ones(3), np.ones(500), np.zeros(500)])
def test_without_a_tail_the_count_stays(reference: np.ndarray) -> None:
    scores = np.array([0.5, 1.0, 2.0])
    np.testing.assert_array_equal(tail_p_value(scores, reference), empirical_p_value(scores, reference))


def test_an_ensemble_names_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match=r"called magic: choose of .*autoregression"):
        DetectorEnsemble(("magic",))
