"""What features do to a probability: exact for trained models, by deletion for others."""

import numpy as np

from forewarn.features.definitions import INDEX
from forewarn.risk.bundle import ModelBundle
from forewarn.risk.contributions import contributions
from forewarn.risk.guard import GuardedScorer
from forewarn.risk.scorer import TrendScorer


def test_a_trained_models_contributions_add_up_to_its_log_odds(bundle: ModelBundle, feature_rows: np.ndarray) -> None:
    rows = feature_rows[:20]
    found = contributions(bundle.scorer(), rows)
    assert found.method == "shap"
    hazard = bundle.hazard
    beyond = hazard.shap_by_bin(rows)[:, :, -2:].sum(2)  # of the bin itself, and the expectation
    np.testing.assert_allclose(
        found.log_odds.sum(1), ((hazard.log_odds(rows) - beyond.T) * hazard.slope).sum(1), atol=1e-6
    )


def test_a_guarded_model_is_explained_by_itself(bundle: ModelBundle, feature_rows: np.ndarray) -> None:
    guarded = GuardedScorer((bundle.scorer(), TrendScorer()), lambda *_: None, lambda *_: None)
    found, expected = (contributions(scorer, feature_rows[:3]) for scorer in (guarded, bundle.scorer()))
    assert found.method == "shap"
    np.testing.assert_array_equal(found.log_odds, expected.log_odds)


def test_other_models_are_asked_without_each_feature() -> None:
    row = np.full((1, len(INDEX)), np.nan)
    row[0, INDEX["ratio"]], row[0, INDEX["distance"]] = 0.9, 0.1
    row[0, INDEX["log_steps_ramp"]], row[0, INDEX["ramp_slope"]] = np.log1p(30.0), 0.2
    row[0, INDEX["ramp_explained"]], row[0, INDEX["ramp_age"]] = 0.99, np.log1p(120.0)
    row[0, INDEX["log_history"]] = np.log1p(400.0)
    found = contributions(TrendScorer(), row)
    assert found.method == "deletion"
    assert found.log_odds[0, INDEX["log_steps_ramp"]] > 1
    assert (found.log_odds[np.isnan(row)] == 0).all()
