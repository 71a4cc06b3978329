"""Stream, batch and Feast, offline as online, give the same features; what is late overwrites nothing."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from feast import FeatureStore
from integration.processes import wait_until

from bentos.predictor.online_features import OnlineFeatures
from feature_repo import store as feature_store
from forewarn.features.batch import features_at
from forewarn.features.context import context_of
from forewarn.features.definitions import FEATURE_NAMES
from forewarn.features.grid import grid_start, limits_grid, to_grids
from forewarn.risk.engine import RiskEngine
from forewarn.risk.scorer import TrendScorer
from forewarn.services.prediction_stream import Latest
from forewarn.telemetry.recording import read_recording
from forewarn.telemetry.samples import SampleBatch, Series

STEP_NS = 10**9


@pytest.fixture(scope="module")
def recorded() -> SampleBatch:
    """Samples of a real run, and its known limits as signals, in the order of time."""
    folder = Path(os.environ.get("FOREWARN_DATA", "nowhere")) / "realruns"
    runs = sorted(path.parent for path in folder.glob("*/telemetry.parquet")) if folder.is_dir() else []
    if not runs:
        pytest.skip("FOREWARN_DATA names no folder with realruns/: the real data set is not here")
    recording = read_recording(runs[0])
    batch = recording.metrics
    stop = np.searchsorted(batch.times, batch.times[0] + 1500 * STEP_NS)
    limits = [
        (Series(x.series.entity, f"{x.series.signal}.limit", x.series.attributes), x.value) for x in recording.limits
    ]
    n, when = len(batch.series), np.unique(batch.times[:stop] // STEP_NS)[::5] * STEP_NS
    told = np.repeat(np.arange(len(limits), dtype=np.int32) + n, len(when))
    index = np.concatenate([batch.index[:stop], told])
    times = np.concatenate([batch.times[:stop], np.tile(when, len(limits))])
    values = np.concatenate([batch.values[:stop], np.repeat([value for _, value in limits], len(when))])
    order = np.argsort(times, kind="stable")
    series = (*batch.series, *(s for s, _ in limits))
    return SampleBatch(series, index[order], times[order], values[order])


@pytest.fixture(scope="module")
def batch_features(recorded: SampleBatch) -> Callable[[np.ndarray, SampleBatch], dict[str, np.ndarray]]:
    """Features [M, F] of each limited series at cells `at`, by the batch path."""

    def features(at: np.ndarray, samples: SampleBatch) -> dict[str, np.ndarray]:
        start, cells = cells_of(recorded)
        series = list(samples.series)
        grid = to_grids(samples.index, samples.times, samples.values, [s.kind for s in series], start, 1.0, cells)
        limits = limits_grid(grid, series)
        found = features_at(grid, limits, at, context_of(series))
        return {s.id: found[i] for i, s in enumerate(series) if not np.isnan(limits[i]).all()}

    return features


def cells_of(samples: SampleBatch) -> tuple[int, int]:
    start = grid_start(int(samples.times[0]), 1.0)
    return start, int((samples.times[-1] - start) // STEP_NS) + 1


def streamed(samples: SampleBatch, ends: list[int]) -> list[Latest]:
    """What the predictor's engine leaves at these cells (counted from the start of the grid)."""
    engine, scorer, sent, found = RiskEngine("", 1.0, 0.0, 1), TrendScorer(), 0, []
    start = cells_of(samples)[0]
    for end in ends:
        stop = int(np.searchsorted(samples.times, start + end * STEP_NS))
        part = slice(sent, stop)
        engine.ingest(SampleBatch(samples.series, samples.index[part], samples.times[part], samples.values[part]))
        sent = stop
        _, _, seen, scores = engine.assess(start // STEP_NS + end, scorer)
        series = [engine.windows.series[int(r)] for r in seen.rows]
        at = datetime.fromtimestamp(start / 1e9, UTC) + timedelta(seconds=end)
        found.append(Latest(at, 1.0, series, seen.values, seen.limits, seen.features, scores, "trend", seen.rows >= 0))
    return found


@pytest.fixture(scope="module")
def applied(
    recorded: SampleBatch,
    batch_features: Callable[[np.ndarray, SampleBatch], dict[str, np.ndarray]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, FeatureStore]:
    """A home whose history holds features every ten seconds."""
    home = tmp_path_factory.mktemp("home")
    start, cells = cells_of(recorded)
    at = np.arange(100, cells, 10)
    tables = [
        feature_store.features_table([name] * len(at), (start + at * STEP_NS) // 1000, rows)
        for name, rows in batch_features(at, recorded).items()
    ]
    import pyarrow as pa

    feature_store.write_history(home, "", pa.concat_tables(tables))
    return home, feature_store.apply(home)


def online(store: FeatureStore, names: list[str]) -> np.ndarray:
    service = store.get_feature_service("failure_v1")
    told = store.get_online_features(service, [{"series_id": name} for name in names]).to_dict()
    return np.array([[np.nan if v is None else v for v in told[name]] for name in FEATURE_NAMES]).T


def test_stream_and_history_and_online_store_agree_on_real_data(
    recorded: SampleBatch,
    batch_features: Callable[[np.ndarray, SampleBatch], dict[str, np.ndarray]],
    applied: tuple[Path, FeatureStore],
) -> None:
    home, store = applied
    ends = [300, 450]
    batch = batch_features(np.array(ends), recorded)
    early, late = streamed(recorded, ends)
    names = [s.id for s in late.series]
    assert names and set(names) <= set(batch)
    expected = np.array([batch[name][1] for name in names])
    np.testing.assert_allclose(late.features, expected, rtol=0, atol=1e-9, equal_nan=True)
    rows = pd.DataFrame({"series_id": names, "event_timestamp": pd.Timestamp(late.at)})
    known = feature_store.historical_features(store, rows)[list(FEATURE_NAMES)].to_numpy(float)
    np.testing.assert_allclose(known, expected, rtol=0, atol=1e-9, equal_nan=True)

    latest = {(0, ""): late}
    feeder = OnlineFeatures(latest, home, every_seconds=0.05)
    feeder.start()
    try:
        arrived = lambda: feature_store.online_times(store, names).get(names[-1])  # noqa: E731
        wait_until(lambda: arrived() == pd.Timestamp(late.at), 60, "the features in the online store")
        np.testing.assert_allclose(online(store, names), late.features, rtol=0, atol=1e-9, equal_nan=True)
        latest[0, ""] = early  # late: it may not overwrite what is newer
        wait_until(lambda: feeder.pushed_rows == len(late.series) + len(early.series), 30, "the late features")
    finally:
        feeder.stop()  # returns when the process has pushed all
    np.testing.assert_allclose(online(store, names), late.features, rtol=0, atol=1e-9, equal_nan=True)


def test_no_feature_changes_in_feast_when_the_future_is_altered(
    recorded: SampleBatch,
    batch_features: Callable[[np.ndarray, SampleBatch], dict[str, np.ndarray]],
    applied: tuple[Path, FeatureStore],
    tmp_path: Path,
) -> None:
    import pyarrow as pa

    start, cells = cells_of(recorded)
    at, cut = np.arange(100, cells, 10), 400
    future = recorded.times >= start + cut * STEP_NS
    altered = SampleBatch(
        recorded.series, recorded.index, recorded.times, np.where(future, 3 * recorded.values + 7, recorded.values)
    )
    tables = [
        feature_store.features_table([name] * len(at), (start + at * STEP_NS) // 1000, rows)
        for name, rows in batch_features(at, altered).items()
    ]
    feature_store.write_history(tmp_path, "", pa.concat_tables(tables))
    other = feature_store.apply(tmp_path)
    names = sorted(batch_features(at[:1], recorded))

    def known(store: FeatureStore, second: int) -> np.ndarray:
        when = datetime.fromtimestamp(start / 1e9, UTC) + timedelta(seconds=second)
        rows = pd.DataFrame({"series_id": names, "event_timestamp": pd.Timestamp(when)})
        return feature_store.historical_features(store, rows)[list(FEATURE_NAMES)].to_numpy(float)

    np.testing.assert_array_equal(known(other, cut), known(applied[1], cut))
    assert not np.array_equal(known(other, cut + 30), known(applied[1], cut + 30), equal_nan=True)


def test_only_days_that_changed_are_written_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times = 1_767_225_600_000_000 + np.arange(0, 3 * 86_400, 3600) * 1_000_000
    values = rng.normal(size=(len(times), len(FEATURE_NAMES)))
    values[3, 3] = np.nan
    table = feature_store.features_table(["a|b"] * len(times), times, values)
    assert [p.parent.name for p in feature_store.write_history(tmp_path, "shop", table)] == [
        "day=2026-01-01", "day=2026-01-02", "day=2026-01-03",
    ]  # fmt: skip
    assert feature_store.write_history(tmp_path, "shop", table) == []
    values[-1] += 1
    table = feature_store.features_table(["a|b"] * (len(times) - 24), times[24:], values[24:])
    written = feature_store.write_history(tmp_path, "shop", table)
    assert [p.parent.name for p in written] == ["day=2026-01-03"]
    pd.testing.assert_frame_equal(feature_store.read_history(tmp_path, "shop").to_pandas(), table.to_pandas())
    import duckdb

    found = duckdb.sql(
        f"select day, count(*) from read_parquet('{feature_store.history_folder(tmp_path)}/**/*.parquet') group by 1"  # noqa: S608
    ).fetchall()
    assert sorted((str(day), n) for day, n in found) == [("2026-01-02", 24), ("2026-01-03", 24)]
