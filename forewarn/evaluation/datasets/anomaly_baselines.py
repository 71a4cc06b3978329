"""Simple anomaly scores that stand beside ours on labelled series: what a figure has to beat."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HOUR_OF_ROWS = 60  # rows whose line `predict_linear` continues
TREES = 100


def baseline_scores(train: Floats, test: Floats, seed: int, smoothing: int) -> dict[str, Floats]:
    """[n] scores of `test` [n, F] by name; `train` [m, F]. A missing value counts as the channel's mean.

    smoothing: span of the causal mean of `pca_smoothed`, which tells what smoothing alone is worth.
    """
    from forewarn.detection.channel_forecast import exponential_mean

    usual, rows = standardised(train, test)
    offline = pca(rows, rows)
    return {
        "pca_offline": offline,
        "pca_smoothed": exponential_mean(offline, smoothing),
        "pca": pca(usual, rows),
        "isolation_forest_offline": isolation_forest(rows, rows, seed),
        "isolation_forest": isolation_forest(usual, rows, seed),
        "max_z": np.abs(rows).max(axis=1),
        "predict_linear": linear_misses(usual, rows),
        "random": np.random.default_rng(seed).random(len(rows)),
    }


def standardised(train: Floats, test: Floats) -> tuple[Floats, Floats]:
    """Both parts in standard deviations from the mean of `train`; what is missing is 0, what stood still has unit 1."""
    there = np.isfinite(train)
    count = np.maximum(there.sum(axis=0), 1)
    centre = np.where(there, train, 0.0).sum(axis=0) / count
    spread = np.sqrt(np.where(there, (train - centre) ** 2, 0.0).sum(axis=0) / count)
    spread = np.where(spread > 1e-9, spread, 1.0)
    return np.nan_to_num((train - centre) / spread), np.nan_to_num((test - centre) / spread)


def absolute_z(train: Floats, test: Floats) -> tuple[Floats, Floats]:
    """|z| of every metric in both parts, by the scale that our detectors use: a metric that stood still has a floor."""
    from forewarn.detection.scaling import ChannelScale

    scale = ChannelScale.learn(train, clip=np.inf)
    return np.nan_to_num(np.abs(scale.apply(train))), np.nan_to_num(np.abs(scale.apply(test)))


def pca(usual: Floats, rows: Floats) -> Floats:
    """TSB-AD's PCA, which is pyod's: distances to the components, each over the share of variance it explains."""
    from scipy.spatial.distance import cdist
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(usual)
    model: Any = PCA().fit(scaler.transform(usual))
    kept = model.explained_variance_ratio_ > 1e-9
    distances = cdist(scaler.transform(rows), model.components_[kept])
    return np.asarray((distances / model.explained_variance_ratio_[kept]).sum(axis=1), dtype=np.float64)


def isolation_forest(usual: Floats, rows: Floats, seed: int) -> Floats:
    """scikit-learn's with its own settings."""
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=TREES, random_state=seed).fit(usual)
    return -np.asarray(forest.score_samples(rows), dtype=np.float64)


def linear_misses(usual: Floats, rows: Floats) -> Floats:
    """Prometheus's `predict_linear` over the last hour of rows: the largest miss among channels, in usual misses."""
    from forewarn.detection.channel_forecast import polynomial_forecast

    both = np.concatenate([usual, rows])
    misses = np.abs(both - polynomial_forecast(both, HOUR_OF_ROWS, 1))
    typical = np.maximum(misses[: len(usual)].std(axis=0), 1e-2)
    return np.asarray((misses[len(usual) :] / typical).max(axis=1), dtype=np.float64)
