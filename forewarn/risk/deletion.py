"""Deletion tests of all risks that are told in one scoring, by one call of the model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.risk.drivers import COLUMNS
from forewarn.risk.narrative import raise_limit, slow_down
from forewarn.risk.scorer import PAGING_HORIZON, Attributing, Scorer, Scores

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Deletions:
    """What is left of n risks when something is taken away.

    without: [n, G], the share of the risk that goes with each group of features (`drivers.COLUMNS`), below 0 where
    the risk grows. slowed: for each risk the share that goes with each of the shares of its rise that were asked for,
    0 to 1. raised: the scores with a limit `narrative.RAISED` times as high, n rows.
    """

    without: F64
    slowed: list[list[float]]
    raised: Scores


def delete(features: F64, probability: F64, rises: Sequence[Sequence[float]], scorer: Scorer) -> Deletions:
    """Test n risks at once.

    features: [n, F]; probability: [n], what the scorer said of these rows; rises: of each risk, the shares of its
    rise to be taken away one after the other.
    """
    count, groups = len(features), len(COLUMNS)
    slower = [slow_down(features[i : i + 1], share) for i, shares in enumerate(rises) for share in shares]
    raised = raise_limit(features)
    rows = np.concatenate([_without_groups(features), raised, *slower])
    survival = scorer.survival(rows)
    risk, before = 1.0 - survival[:, PAGING_HORIZON], np.maximum(probability, 1e-9)
    cut = count * groups
    without = (probability[:, None] - risk[:cut].reshape(count, groups)) / before[:, None]
    left = iter(risk[cut + count :])
    slowed = [
        [float(np.clip(1.0 - next(left) / base, 0.0, 1.0)) for _ in shares]
        for base, shares in zip(before, rises, strict=True)
    ]
    return Deletions(without, slowed, Scores(survival[cut : cut + count], scorer.quantiles(raised)))


def attribute(features: F64, scorer: Scorer) -> F64:
    """[n, G]: the share of each group of features in what raises the score, by the SHAP values of a model of trees
    rolled up to groups; NaN for a scorer that has none. Rows add up to 1 (0 where nothing raises it)."""
    if not isinstance(scorer, Attributing):
        return np.full((len(features), len(COLUMNS)), np.nan)
    values = scorer.attributions(features)
    groups = np.stack([values[:, columns].sum(1) for columns in COLUMNS.values()], 1).clip(min=0.0)
    shares: F64 = groups / np.maximum(groups.sum(1, keepdims=True), 1e-9)
    return shares


def _without_groups(features: F64) -> F64:
    """[n × G, F]: each row once for each group, with the features of the group missing."""
    rows = np.repeat(features, len(COLUMNS), axis=0)
    for k, columns in enumerate(COLUMNS.values()):
        rows[k :: len(COLUMNS), columns] = np.nan
    return rows
