"""Direct quantiles of the maxima: LightGBM quantile regression over all series and horizons at once, without unit.

Learned from random shapes (`shapes.py`) it knows how capacities in general go on, and serves from the first day.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from forewarn.config.threads import threads_for
from forewarn.forecasting.capacity.horizons import HOURS, LEVELS, TINY, Floats, came, increasing
from forewarn.forecasting.capacity.paths import DAY, PATHS, WEEK, gains
from forewarn.forecasting.capacity.signal_class import class_of
from forewarn.forecasting.simple import robust_slope

FEATURES_VERSION = 1
SHORTEST = 24  # hours of history
_SETTINGS: dict[str, Any] = {
    "objective": "quantile",
    "learning_rate": 0.1,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "max_bin": 127,
    "verbose": -1,
    "force_row_wise": True,
    "deterministic": True,
    "num_threads": 1,
}
ROUNDS = 120
_FAR = 12.0  # scaled values beyond are cut: a series that did not move at all before has no unit of its own


def unit_of(past: Floats) -> Floats:
    """[S] what a series is measured by: how it usually lay off its median in the last week, and changed in a day."""
    x = past[:, -WEEK:]
    off = np.abs(x - np.median(x, axis=1, keepdims=True)).mean(axis=1)
    change = np.abs(np.diff(past[:, -DAY:], axis=1)).sum(axis=1) / DAY
    long = np.abs(past - np.median(past, axis=1, keepdims=True)).mean(axis=1)
    return np.asarray(np.maximum(off + change + 0.1 * long, 1e-6 * np.abs(past).max(axis=1) + TINY))


def features(past: Floats) -> Floats:
    """[S, K, F] without unit: what each path says, past gains, slopes, drops, seasons; and the horizon."""
    unit, last = unit_of(past), past[:, -1:]
    gained = gains(past, (0.5, 0.2, 0.8, 0.95))  # the first is the path `usual_gain`, the last of PATHS
    by_horizon = [*(path(past) - last for name, path in PATHS.items() if name != "usual_gain"), *gained]
    scaled = [np.arcsinh(one / unit[:, None]) for one in by_horizon]
    each = np.repeat(_of_series(past, unit)[:, None], len(HOURS), axis=1)
    ahead = np.broadcast_to(np.log(np.array(HOURS, float)), scaled[0].shape)
    share = np.broadcast_to(np.log(np.array(HOURS) / past.shape[1]), scaled[0].shape)
    return np.clip(np.concatenate([np.stack([*scaled, ahead, share], axis=2), each], axis=2), -_FAR, _FAR)


def _of_series(past: Floats, unit: Floats) -> Floats:
    """[S, G] facts that do not depend on the horizon."""
    last, change = past[:, -1], np.diff(past, axis=1)
    week = past[:, -WEEK:]
    range_ = np.ptp(week, axis=1) + TINY
    falls = -np.minimum(change, 0)
    facts = [np.arcsinh(robust_slope(past, n) * DAY / unit) for n in (6, DAY, 3 * DAY, WEEK, past.shape[1])]
    facts += [(last - past[:, -n:].max(axis=1)) / unit for n in (DAY, WEEK, past.shape[1])]
    facts += [(last - past[:, -n:].min(axis=1)) / unit for n in (DAY, WEEK, past.shape[1])]
    facts += [falls[:, -n:].sum(axis=1) / (np.abs(change[:, -n:]).sum(axis=1) + TINY) for n in (DAY, WEEK)]
    facts += [falls[:, -n:].max(axis=1) / range_ for n in (DAY, WEEK, past.shape[1])]
    facts += [_since(falls > 0.25 * range_[:, None]), _since(-np.minimum(-change, 0) > 0.25 * range_[:, None])]
    facts += [np.abs(change[:, -DAY:]).mean(axis=1) / unit, np.abs(change[:, -WEEK:]).mean(axis=1) / unit]
    if past.shape[1] > 2 * DAY:
        facts.append(np.abs(week[:, DAY:] - week[:, :-DAY]).mean(axis=1) / unit)
    else:
        facts.append(np.full(len(past), np.nan))
    facts += [class_of(past).astype(float), np.full(len(past), np.log(past.shape[1]))]
    return np.stack(facts, axis=1)


def _since(event: Any) -> Floats:
    """[S] logarithm of the cells since the last event; of all where there was none."""
    size = event.shape[1]
    return np.asarray(np.log1p(np.where(event.any(axis=1), event[:, ::-1].argmax(axis=1), size)))


class DirectQuantiles:
    """One LightGBM a level of arcsinh((maximum - last cell) / unit)."""

    name = "direct"

    def __init__(self, boosters: list[Any]) -> None:
        self._boosters = boosters

    @classmethod
    def fit(cls, rows: Floats, target: Floats, seed: int = 0, rounds: int = ROUNDS) -> "DirectQuantiles":
        """rows [n, F] of `features`, target [n] of `target_of`."""
        import lightgbm

        data = lightgbm.Dataset(rows, target, params={"max_bin": _SETTINGS["max_bin"], "verbose": -1})
        settings = [{**_SETTINGS, "alpha": level, "seed": seed} for level in LEVELS]
        return cls([lightgbm.train(each, data, rounds) for each in settings])

    def quantiles(self, past: Floats) -> Floats:
        """[S, K, 13] of the maxima after past [S, T]."""
        rows = features(past)
        flat = rows.reshape(-1, rows.shape[-1])
        threads = threads_for(len(flat))
        said = np.stack([np.asarray(b.predict(flat, num_threads=threads)) for b in self._boosters], axis=-1)
        said = np.sinh(said.reshape(*rows.shape[:2], -1)) * unit_of(past)[:, None, None]
        return increasing(past[:, -1:, None] + said)

    def save(self, folder: Path) -> None:
        """Write LightGBM's own text and a JSON file: nothing that could run code when it is loaded."""
        folder.mkdir(parents=True, exist_ok=True)
        for level, booster in zip(LEVELS, self._boosters, strict=True):
            booster.save_model(folder / f"level_{level:g}.txt")
        about = {"features_version": FEATURES_VERSION, "levels": LEVELS.tolist(), "hours": list(HOURS)}
        (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "DirectQuantiles":
        """Raises FileNotFoundError where `save` has not written, ValueError where it was another version."""
        import lightgbm

        about = json.loads((folder / "about.json").read_text())
        if about["features_version"] != FEATURES_VERSION or tuple(about["hours"]) != HOURS:
            raise ValueError(f"{folder} holds a model of other features: run python -m forewarn.evaluation.capacity")
        return cls([lightgbm.Booster(model_file=folder / f"level_{level:g}.txt") for level in LEVELS])


def target_of(values: Floats, at: int) -> Floats:
    """[S, K] arcsinh((maximum of the next h cells - last cell before `at`) / unit); NaN beyond the end."""
    past = values[:, :at]
    return np.clip(np.arcsinh((came(values, at) - past[:, -1:]) / unit_of(past)[:, None]), -_FAR, _FAR)
