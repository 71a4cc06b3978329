"""Learns the first-day model from random shapes; `python -m forewarn.evaluation.first_day` writes the package's."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forewarn.classification.hazard import HazardModel
from forewarn.features.batch import features_at
from forewarn.features.definitions import FEATURE_VERSION, HORIZON_STEPS, INDEX
from forewarn.features.labels import time_to_limit
from forewarn.forecasting.shapes import draw
from forewarn.forecasting.time_to_failure import TimeToFailureModel
from forewarn.risk.first_day import FOLDER, MANIFEST

F64 = NDArray[np.float64]

STEPS = 1200
SERIES = 6_000
_AT_ONCE = 500
_FIRST, _LAST = 60, 1000  # steps of history at which features are taken


def rows(seed: int, series: int) -> tuple[F64, F64, F64]:
    """Features [n, F], steps to failure [n] and steps watched [n], of so many random series before their failure."""
    rng = np.random.default_rng(seed)
    parts = [_rows_of(rng) for _ in range(max(series // _AT_ONCE, 1))]
    features, steps, observed = (np.concatenate(column) for column in zip(*parts, strict=True))
    return features, steps, observed


def _rows_of(rng: np.random.Generator) -> tuple[F64, F64, F64]:
    grid = np.stack([draw(rng, STEPS) for _ in range(_AT_ONCE)])
    steps, observed = time_to_limit(grid, np.ones_like(grid))
    early = rng.integers(_FIRST, 360, 16)  # the first hours, where least is known, count most
    at = np.unique(np.concatenate([early, rng.integers(_FIRST, _LAST, 24)]))
    features = features_at(grid, np.ones_like(grid), at)
    failed = np.where((grid >= 1).any(1), (grid >= 1).argmax(1), STEPS + 1)
    there = np.isfinite(observed[:, at]) & ~np.isnan(features[:, :, INDEX["ratio"]]) & (at <= failed[:, None])
    return (
        features[there],
        steps[:, at][there].astype(np.float64),
        observed[:, at][there].astype(np.float64),
    )


def learn(seed: int = 0, series: int = SERIES) -> tuple[HazardModel, TimeToFailureModel]:
    """The hazard and the time model, calibrated on series of another seed."""
    features, steps, observed = rows(seed, series)
    later = rows(seed + 1, series // 4)
    hazard = HazardModel.fit(features, steps, observed, seed=seed, few_failures=False).calibrate(*later)
    soon, later_soon = steps <= HORIZON_STEPS[-1], later[1] <= HORIZON_STEPS[-1]
    time = TimeToFailureModel.fit(features[soon], steps[soon], seed)
    return hazard, time.calibrate(later[0][later_soon], later[1][later_soon])


def write(folder: Path, hazard: HazardModel, time: TimeToFailureModel, seed: int, series: int) -> None:
    """Write what `forewarn.risk.first_day.load` reads."""
    hazard.save(folder / "hazard")
    time.save(folder / "time")
    about = {"feature_version": FEATURE_VERSION, "seed": seed, "series": series, "steps": STEPS}
    (folder / MANIFEST).write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    write(FOLDER, *learn(), seed=0, series=SERIES)
