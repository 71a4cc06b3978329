"""The feature store gives what was known at the time: through DuckDB's ASOF JOIN as through Feast's own join."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from feast import FeatureStore

from feature_repo import store as features
from forewarn.features.definitions import FEATURE_COUNT, FEATURE_NAMES

MINUTE = 60_000_000
START = 1_767_225_600_000_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three series, features every five minutes over two days, each named by its time."""
    home = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    names = [f"shop/api|s{k}" for k in range(3)]
    times = START + np.arange(0, 2 * 1440, 5) * MINUTE
    values = rng.normal(size=(3 * len(times), FEATURE_COUNT))
    values[rng.random(values.shape) < 0.05] = np.nan
    values[:, 0] = np.tile(times / 1e6, 3)
    table = features.features_table(np.repeat(names, len(times)).tolist(), np.tile(times, 3), values)
    features.write_history(home, "shop", table)
    return home


@pytest.fixture(scope="module")
def store(home: Path) -> FeatureStore:
    """Applied twice: it may be repeated."""
    features.apply(home)
    return features.apply(home)


def rows(minutes: list[float], series: str = "shop/api|s1") -> pd.DataFrame:
    """Entity rows so many minutes after the start."""
    at = pd.to_datetime([START + int(m * MINUTE) for m in minutes], unit="us", utc=True)
    return pd.DataFrame({"series_id": series, "event_timestamp": at, "label": np.arange(len(minutes))})


def test_no_row_sees_its_future(store: FeatureStore) -> None:
    asked = rows([0, 4.99, 5, 5.01, 777.7])
    known = features.historical_features(store, asked)
    seen = pd.to_datetime(known["ratio"], unit="s", utc=True)
    assert (seen <= asked["event_timestamp"]).all()
    assert ((asked["event_timestamp"] - seen) < timedelta(minutes=5)).all()
    assert known["label"].tolist() == [0, 1, 2, 3, 4]


def test_before_the_first_and_long_after_the_last_nothing_is_known(store: FeatureStore) -> None:
    known = features.historical_features(store, rows([-1, 2 * 1440 + 60, 4 * 1440]))
    assert known["ratio"].notna().tolist() == [False, True, False]
    assert features.historical_features(store, rows([60], "shop/api|none"))["ratio"].isna().all()


def test_agrees_with_feasts_own_join(home: Path, store: FeatureStore) -> None:
    from feast.infra.offline_stores.dask import DaskOfflineStore

    rng = np.random.default_rng(1)
    asked = pd.concat([rows(rng.uniform(-30, 3000, 40).tolist(), f"shop/api|s{k}") for k in range(4)])
    asked["label"] = np.arange(len(asked))
    ours = features.historical_features(store, asked)
    view = store.get_feature_view("signal_features")
    references = [f"signal_features:{name}" for name in FEATURE_NAMES]
    job = DaskOfflineStore.get_historical_features(
        store.config, [view], references, asked, store.registry, store.project
    )
    theirs = job.to_df().sort_values("label")
    left_out = ours[~ours["label"].isin(theirs["label"])]  # Feast's own drops some rows that nothing is known of
    assert len(left_out) < 10 and left_out["ratio"].isna().all()
    ours = ours[ours["label"].isin(theirs["label"])]
    for name in ("label", *FEATURE_NAMES):
        np.testing.assert_array_equal(ours[name].to_numpy(float), theirs[name].to_numpy(float))


def test_a_late_event_does_not_overwrite_a_newer_one(store: FeatureStore) -> None:
    def row(minute: int, value: float) -> int:
        table = features.features_table(
            ["shop/api|s0"], np.array([START + minute * MINUTE]), np.full((1, FEATURE_COUNT), value)
        )
        return features.push_newest(store, table)

    def online() -> float:
        service = store.get_feature_service("failure_v1")
        return float(store.get_online_features(service, [{"series_id": "shop/api|s0"}]).to_dict()["ratio"][0])

    assert row(100, 1.0) == 1 and online() == 1.0
    assert row(90, 2.0) == 0 and online() == 1.0
    assert row(105, 3.0) == 1 and online() == 3.0
