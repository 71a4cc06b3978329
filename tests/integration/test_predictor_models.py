"""Models change under load: a real stream is scored by whoever serves, and nothing is lost or told twice."""

import itertools
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg
import pytest
from integration.test_prediction_stream import read
from integration.test_takeover import (
    AHEAD,
    ENTITIES,
    HISTORY,
    HOLD,
    PARTITIONS,
    START_CELL,
    STEP_NS,
    Load,
    Watermarks,
    settings_of,
    wait_for,
)

from bentos import model_store
from bentos.predictor.comparison import Comparison
from bentos.predictor.model_health import ModelHealth
from bentos.predictor.served_models import Models, ServedModels
from bentos.predictor.shadow import ShadowScoring
from forewarn.features.definitions import HORIZON_STEPS
from forewarn.risk.bundle import ModelBundle, save_bundle
from forewarn.risk.records import Risk, decode_risk
from forewarn.risk.scorer import Scorer
from forewarn.services.prediction_stream import Latest, PredictionStream
from forewarn.stores import model_health, model_versions
from forewarn.stores.log import create_topics
from forewarn.stores.shadow_predictions import SAMPLE_STEPS
from forewarn.telemetry import topics

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def registry(
    postgres_url: str, bentoml_home: Path, bundle: ModelBundle, tmp_path: Path
) -> Iterator[psycopg.Connection]:
    """A registry with three candidates, of which all are in the store: m-1, m-2, m-3."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for i, threshold in enumerate((0.2, 0.1, 0.3), start=1):
            manifest = replace(bundle.manifest, version=f"m-{i}", threshold=threshold)
            saved = save_bundle(replace(bundle, manifest=manifest), tmp_path / f"m-{i}")
            model_store.put(tmp_path / f"m-{i}")
            model_versions.register(connection, saved, "test", "trained")
        yield connection


@dataclass
class Breaks:
    """A model that answers at first and then no more."""

    within: Scorer
    version: str = "m-broken"
    threshold: float = 0.2
    broken: threading.Event = field(default_factory=threading.Event)
    seconds: float = 0.0

    def survival(self, features: np.ndarray) -> np.ndarray:
        time.sleep(self.seconds)
        if self.broken.is_set():
            raise RuntimeError("sabotaged")
        return self.within.survival(features)

    def quantiles(self, features: np.ndarray) -> np.ndarray:
        return self.within.quantiles(features)


class Predictor:
    """What the service is made of, without HTTP: the stream, its models, the shadow, and what was scored by whom."""

    def __init__(self, address: str, url: str) -> None:
        self.cells: dict[int, list[tuple[int, str]]] = defaultdict(list)  # of each partition: cell and version
        self.risks: list[Risk] = []
        self.latest: dict[int, Latest] = {}
        self.stream = PredictionStream(settings_of(address), lambda: self.models.scorer(), self.scored)
        self.health = ModelHealth("test", self.stream.counters)
        self.models = ServedModels(url, self.health, period_seconds=0.1)
        self.comparison = Comparison(url, self.health, self.stream.counters, period_seconds=0.2)
        self.shadow = ShadowScoring(lambda: self.models.models, self.health, self.comparison)
        self.thread = threading.Thread(target=self.stream.run, daemon=True)

    def scored(self, key: tuple[int, str], latest: Latest, risks: list[Risk]) -> None:
        self.cells[key[0]].append((int(latest.at.timestamp()) * 10**9 // STEP_NS, latest.model_version))
        self.risks += risks
        self.latest[key[0]] = latest
        self.health.told(latest, risks)
        self.shadow.offer(key, latest, risks)

    def versions(self) -> set[str]:
        """Who scored each partition last."""
        return {cells[-1][1] for cells in list(self.cells.values())}

    def __enter__(self) -> "Predictor":
        for part in (self.models, self.comparison, self.shadow, self.thread):
            part.start()
        assert self.stream.ready.wait(90)
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.stop()
        self.thread.join(30)
        for part in (self.models, self.shadow, self.comparison):
            part.stop()

    def serve(self, models: Models) -> None:
        """Let these serve, as if the registry had said so."""
        self.models.models = models
        self.health.serve(models.champion, models.shadow, models.revision)


@pytest.fixture
def streaming(
    own_broker: str, postgres_url: str, registry: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Predictor, Load]]:
    """A predictor with full windows, and messages that come as fast as it takes them, 25 cells a second at most."""
    monkeypatch.setattr("integration.test_takeover.LEAST_SECONDS", 0.04)  # they last for a minute
    create_topics(own_broker, PARTITIONS)
    watermarks = Watermarks(own_broker)
    load = Load(own_broker, f"n{uuid.uuid4().hex[:6]}", watermarks.scored)
    load.send(HISTORY - 1, scrapes=(HISTORY - 1) * 4)
    load.send(1)
    live = threading.Thread(target=load.run, daemon=True)
    with Predictor(own_broker, postgres_url) as predictor:
        wait_for("the first scorings", lambda: len(predictor.cells) == PARTITIONS)
        live.start()
        yield predictor, load
        assert live.is_alive(), "messages came until the end"
        load.enough.set()
        live.join()
        wait_for("the last cell", lambda: watermarks.scored() == START_CELL + load.sent - HOLD)
        assert predictor.shadow.wait(30)
    check_nothing_was_lost(own_broker, predictor, load)


def check_nothing_was_lost(address: str, predictor: Predictor, load: Load) -> None:
    """Every sample is in the windows, every cell was scored once, every risk is on the log once."""
    assert predictor.stream.counters["samples_total"] == load.samples
    assert predictor.stream.counters["dead_letters_total"] == 0
    for cells in predictor.cells.values():
        numbers = [cell for cell, _ in cells]
        assert numbers == list(range(numbers[0], START_CELL + load.sent - HOLD + 1))
    on_log = [decode_risk(value) for value in read(address, topics.RISKS)]
    assert sorted(r.risk_id for r in on_log) == sorted(r.risk_id for r in predictor.risks)
    assert len({(r.episode, r.revision) for r in on_log}) == len(on_log)


def some_more(load: Load, cells: int = AHEAD) -> None:
    at = load.sent
    wait_for("some more cells", lambda: load.sent >= at + cells)


def test_models_are_taken_up_between_two_scorings_and_compared(
    streaming: tuple[Predictor, Load], registry: psycopg.Connection
) -> None:
    predictor, load = streaming

    def serves(version: str) -> Callable[[], bool]:
        return lambda: predictor.versions() == {version}

    assert predictor.versions() == {"first-day-4"}
    model_versions.promote(registry, "m-1", "test", "first")
    wait_for("the first champion", serves("m-1"))
    model_versions.begin_shadow(registry, "m-2", "test", "to compare")
    wait_for("the shadow", lambda: predictor.models.models.shadow is not None)
    some_more(load, 2 * SAMPLE_STEPS + AHEAD)
    model_versions.promote(registry, "m-2", "test", "better")
    wait_for("the second champion", serves("m-2"))
    assert [s.version for s in predictor.models.models.fallbacks] == ["m-1", "first-day-4"]
    some_more(load)
    model_versions.roll_back(registry, "test", "worse")
    wait_for("the first champion again", serves("m-1"))
    assert [s.version for s in predictor.models.models.fallbacks] == ["first-day-4"]
    some_more(load)

    for cells in predictor.cells.values():
        told = [version for _, version in cells]
        turns = [told[0], *(b for a, b in itertools.pairwise(told) if a != b)]
        assert turns == ["first-day-4", "m-1", "m-2", "m-1"]
    assert {risk.model_version for risk in predictor.risks} <= {"first-day-4", "m-1", "m-2"}
    wait_for("the rows of the comparison", lambda: len(rows_of(registry, "sample")) > 2 * ENTITIES)
    check_comparison(registry, predictor)


def rows_of(connection: psycopg.Connection, state: str) -> list[tuple[str, str, str, datetime, float]]:
    return connection.execute(
        "select role, model_version, entity, predicted_at, probability from shadow_predictions where state = %s",
        (state,),
    ).fetchall()


def check_comparison(registry: psycopg.Connection, predictor: Predictor) -> None:
    """Both models said something of the same rows; the champion's risks are those that left."""
    samples = rows_of(registry, "sample")
    pairs: dict[tuple[str, datetime], dict[str, str]] = defaultdict(dict)
    for role, version, entity, at, _ in samples:
        assert int(at.timestamp()) * 10**9 // STEP_NS % SAMPLE_STEPS == 0
        pairs[(entity, at)][role] = version
    assert all(pair == {"champion": "m-1", "shadow": "m-2"} for pair in pairs.values())
    assert {entity for entity, _ in pairs} == {
        entity for latest in predictor.latest.values() for entity in entities(latest)
    }
    opened = registry.execute(
        "select episode::text, revision from shadow_predictions where role = 'champion' and state <> 'sample'"
    ).fetchall()
    assert opened, "the champion told risks meanwhile"
    assert set(opened) <= {(risk.episode, risk.revision) for risk in predictor.risks}
    assert {r[1] for r in rows_of(registry, "open") if r[0] == "shadow"} == {"m-2"}


def entities(latest: Latest) -> list[str]:
    return [series.entity for series in latest.series]


def test_a_champion_that_breaks_is_stepped_in_for_and_seen(
    streaming: tuple[Predictor, Load], registry: psycopg.Connection
) -> None:
    predictor, load = streaming
    first_day = predictor.models.models.champion
    broken = Breaks(first_day)
    predictor.serve(Models(broken, (first_day,)))
    wait_for("the champion", lambda: predictor.versions() == {"m-broken"})
    broken.broken.set()
    wait_for("who steps in", lambda: predictor.versions() == {"first-day-4"})
    some_more(load)
    wait_for("its errors in the database", lambda: health(registry, "m-broken").errors > PARTITIONS)
    seen, other = health(registry, "m-broken"), health(registry, "first-day-4", "fallback")
    assert seen.error_share > 0
    assert seen.last_error == "RuntimeError: sabotaged"
    assert other.batches > 0
    assert predictor.stream.counters["champion_errors_total"] > PARTITIONS
    assert predictor.stream.counters["champion_score_seconds_p99"] > 0


def test_a_shadow_that_breaks_or_dawdles_harms_nobody(
    streaming: tuple[Predictor, Load], registry: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, load = streaming
    monkeypatch.setattr("bentos.predictor.shadow._WAITING_ROWS", 4 * ENTITIES // PARTITIONS)
    first_day = predictor.models.models.champion
    shadow = Breaks(first_day, "m-shadow", seconds=0.2)
    predictor.serve(Models(first_day, (), shadow))
    wait_for("batches left out", lambda: predictor.stream.counters["shadow_dropped_total"] > AHEAD)
    shadow.broken.set()
    shadow.seconds = 0.0
    wait_for("its errors", lambda: health(registry, "m-shadow", "shadow").errors > PARTITIONS)
    assert predictor.versions() == {"first-day-4"}
    assert predictor.stream.counters["champion_errors_total"] == 0
    predictor.serve(Models(first_day))
    some_more(load)


def health(connection: psycopg.Connection, version: str, role: str = "champion") -> model_health.Health:
    now = datetime.now(UTC)
    return model_health.read(connection, version, now - timedelta(hours=1), now + timedelta(minutes=1), role)


def test_what_cannot_be_loaded_or_cannot_score_is_refused(
    postgres_url: str, registry: psycopg.Connection, bundle: ModelBundle, tmp_path: Path
) -> None:
    slope = bundle.hazard.slope * np.nan
    nonsense = replace(
        bundle, hazard=replace(bundle.hazard, slope=slope), manifest=replace(bundle.manifest, version="m-4")
    )
    model_versions.register(registry, save_bundle(nonsense, tmp_path / "m-4"), "test", "trained")
    model_store.put(tmp_path / "m-4")
    lost = replace(bundle.manifest, version="m-5")
    model_versions.register(registry, lost, "test", "never stored")
    model = ServedModels(postgres_url, ModelHealth("test", {}))
    model_versions.promote(registry, "m-1", "test", "first")
    model._look()
    model_versions.promote(registry, "m-4", "test", "answers no numbers")
    model_versions.begin_shadow(registry, "m-5", "test", "is nowhere")
    model._look()
    assert model.models.champion.version == "m-1"
    assert model.models.shadow is None
    minutes = {(m.model_version, m.role): m for m in model._health.drain()}
    assert "no numbers" in minutes[("m-4", "champion")].last_error
    assert "no model forewarn:m-5" in minutes[("m-5", "shadow")].last_error
    model_versions.promote(registry, "m-3", "test", "a good one")
    model._look()
    assert model.models.champion.version == "m-3"
    survival = model.scorer().survival(np.zeros((3, len(bundle.manifest.feature_names))))
    assert survival.shape == (3, len(HORIZON_STEPS))
