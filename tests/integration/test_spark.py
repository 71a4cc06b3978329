"""Spark makes the same windows and features of the same files, and joins them alike, whatever the machine's zone."""

import json
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from feature_repo import spark
from feature_repo import store as feature_store
from forewarn.config.settings import Settings
from forewarn.features.definitions import FEATURE_NAMES
from forewarn.stores.archive import samples_table
from forewarn.telemetry.samples import Kind, Series
from monitor_assets.features.signal_features import feature_cells, feature_rows
from monitor_assets.features.signal_windows import windows_of
from monitor_assets.history import History, write_parquet

pytest.importorskip("pyspark", reason="PySpark is not installed: uv pip install 'pyspark<4'")
if shutil.which("java") is None:
    pytest.skip("there is no Java: apt-get install openjdk-17-jre-headless", allow_module_level=True)

pytestmark = pytest.mark.timeout(600)  # a JVM, and Python workers of its own: some 40 s of processor
FIRST = datetime(2026, 3, 7, tzinfo=UTC)  # a night in which New York puts its clocks forward lies between the days
DAYS, STEP = 3, 60
NAMES = list(FEATURE_NAMES)
CONF = {  # little data: what compiles more than it runs is off
    "spark.master": "local[1]",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


class Ways(NamedTuple):
    """Homes with the same raw samples: one whose windows and features were made in memory, one by Spark."""

    memory: History
    spark: History


def entity_samples(entity: str, rng: np.random.Generator) -> Iterator[tuple[Series, np.ndarray, np.ndarray]]:
    """Series with times in microseconds and values: uneven times, gaps, a counter that starts anew, NaN, limits."""
    minutes = np.arange(DAYS * 1440)
    season = 1 + 0.4 * np.sin(2 * np.pi * minutes / 1440 + rng.uniform(0, 6))
    use = np.where(rng.random(len(minutes)) < 0.01, np.nan, 0.5 * season * rng.lognormal(0, 0.1, len(minutes)))
    count = np.cumsum(100 * season)
    count[3000:] -= count[3000]
    signals = {
        Series(entity, "process.memory.usage"): use * 1e9,
        Series(entity, "process.memory.usage.limit"): np.where(minutes < 2000, 1e9, 1.5e9),
        Series(entity, "db.client.connections.usage", (("pool", "a"),)): 40 * season,
        Series(entity, "db.client.connections.max"): np.full(len(minutes), 64.0),
        Series(entity, "http.server.request.count", kind=Kind.CUMULATIVE): count,
        Series(entity, "http.server.request.error_ratio"): rng.beta(1, 100, len(minutes)),
        Series(entity, "app.queue.length"): 10 * season,
    }
    start = int(FIRST.timestamp()) * 10**6
    for series, values in signals.items():
        there = rng.random(len(minutes)) > 0.05
        times = start + minutes * STEP * 10**6 + rng.integers(0, STEP * 10**6, len(minutes))
        yield series, times[there], values[there]


def write_raw(history: History) -> None:
    """Raw samples by day, of four entities, one of which knows no limit."""
    rng = np.random.default_rng(5)
    parts = [part for name in ("shop/api", "shop/api-2", "shop/db", "shop/zoo") for part in entity_samples(name, rng)]
    parts = [part for part in parts if part[0].entity != "shop/zoo" or not part[0].signal.endswith((".limit", ".max"))]
    series = tuple(s for s, _, _ in parts)
    index = np.repeat(np.arange(len(parts)), [len(t) for _, t, _ in parts])
    times, values = (np.concatenate([part[i] for part in parts]) for i in (1, 2))
    day = (times - int(FIRST.timestamp()) * 10**6) // (86_400 * 10**6)
    for n in range(DAYS):
        own = day == n
        rows = samples_table(series, index[own], times[own], values[own], dictionaries=True)
        write_parquet(history.day_file((FIRST + timedelta(days=n)).date()), rows)
    history.write_series(list(series))
    bounds = [FIRST + timedelta(minutes=7), FIRST + timedelta(days=DAYS, minutes=-11)]
    history.write_json("interval", [at.isoformat() for at in bounds])


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    """Features of both ways, registered; one Spark session, in a process whose zone is not UTC."""
    from monitor_assets.features.by_entity import entity_features, write_windows

    found = Ways(*(History(tmp_path_factory.mktemp(name), "shop") for name in ("memory", "spark")))
    for history in found:
        write_raw(history)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        windows = windows_of(found.memory, STEP)
        found.memory.write_windows(windows)
        rows = feature_rows(windows, feature_cells(len(windows.limited), windows.cells.shape[1]))
        feature_store.write_history(found.memory.home, "shop", rows)
        feature_store.apply(found.memory.home)
        patch.setenv("FOREWARN_HOME", str(found.spark.home))
        patch.setenv("FOREWARN_OFFLINE_STORE", "spark")
        patch.setenv("FOREWARN_SPARK_CONF", json.dumps(CONF))
        session = spark.spark_session(Settings())
        write_windows(session, found.spark, STEP)
        feature_store.write_history(found.spark.home, "shop", entity_features(session, found.spark))
        feature_store.apply(found.spark.home)
        try:
            yield found
        finally:
            session.stop()
    time.tzset()


def test_windows_and_features_are_the_same_to_the_last_bit(ways: Ways) -> None:
    ours, theirs = (history.read_windows() for history in ways)
    assert theirs.series == ours.series and len(ours.series) == 26
    assert (theirs.start_ns, theirs.step_seconds) == (ours.start_ns, ours.step_seconds)
    np.testing.assert_array_equal(theirs.limited, ours.limited)
    np.testing.assert_array_equal(theirs.cells, ours.cells)
    np.testing.assert_array_equal(theirs.limits, ours.limits)
    one, other = (feature_store.read_history(history.home, "shop") for history in ways)
    assert other.schema.equals(one.schema) and one.num_rows > 4000
    pd.testing.assert_frame_equal(other.to_pandas(), one.to_pandas(), check_exact=True)
    assert one.to_pandas()[NAMES].notna().any().sum() > 60


def test_the_join_in_time_is_the_same_row_for_row(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = entity_rows(ways.memory.read_features())
    untouched = asked.copy()
    theirs = feature_store.historical_features(feature_store.open_store(ways.spark.home), asked)
    pd.testing.assert_frame_equal(asked, untouched)
    monkeypatch.setenv("FOREWARN_OFFLINE_STORE", "asof")
    ours = feature_store.historical_features(feature_store.open_store(ways.memory.home), asked)
    pd.testing.assert_frame_equal(theirs, ours, rtol=0, atol=1e-12)
    known = ours["ratio"].notna()
    assert 0.3 < known.mean() < 0.99
    assert ours["weight"].tolist() == asked["weight"].tolist()


def entity_rows(features: pa.Table) -> pd.DataFrame:
    """Rows at, just before, just after and long after features, twice the same, before the first and of nobody."""
    rng = np.random.default_rng(3)
    rows = features.select(["series_id", "event_timestamp"]).take(rng.integers(0, features.num_rows, 120)).to_pandas()
    microsecond = pd.Timedelta(1, "us")
    off = [0 * microsecond, -microsecond, microsecond, pd.Timedelta(days=1), pd.Timedelta(days=1) + microsecond]
    rows["event_timestamp"] += pd.Series(np.resize(off, len(rows)))
    last, first = features.column("event_timestamp").to_pandas().agg(["max", "min"])
    known = rows["series_id"][0]
    edges = pd.DataFrame(
        {
            "series_id": [known, known, known, known, "shop/none|x"],
            "event_timestamp": [first - microsecond, last + pd.Timedelta(hours=23), last, last, last],
        }
    )
    rows = pd.concat([rows, edges, rows[:5]], ignore_index=True)
    rows["event_timestamp"] = rows["event_timestamp"].astype("datetime64[us, UTC]")
    return rows.assign(weight=np.arange(len(rows)) / 7, part="train")


def test_each_home_can_change_its_store(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    """`apply` registers the same view over the same files; a later run under the other setting needs no more."""
    asked = entity_rows(ways.spark.read_features()).head(3)
    monkeypatch.setenv("FOREWARN_OFFLINE_STORE", "asof")
    changed = feature_store.historical_features(feature_store.apply(ways.spark.home), asked)
    monkeypatch.setenv("FOREWARN_OFFLINE_STORE", "spark")
    feature_store.apply(ways.spark.home)
    assert changed["ratio"].notna().any()
