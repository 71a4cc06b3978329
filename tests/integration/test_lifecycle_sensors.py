"""Dagster's sensors on a real registry, ledger and instance: each verdict is carried out once, with its reason."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster import DagsterRunStatus
from lifecycle_world import HOUR, NOON, actions, add_failure, add_versions, both_score, set_clock, stages
from psycopg.types.json import Jsonb

from bentos import model_store
from forewarn.risk.bundle import BundleError, ModelBundle, save_bundle
from forewarn.stores import model_health
from forewarn.stores import model_versions as registry
from forewarn.stores.model_health import HealthMinute
from sensors.promotion import promote_shadow
from sensors.retraining import retrain
from sensors.rollback import roll_back_champion

NOW = datetime.now(UTC)


@pytest.fixture
def db(postgres_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[psycopg.Connection[Any]]:
    """A registry, to which the sensors' settings point."""
    monkeypatch.setenv("FOREWARN_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("FOREWARN_HOME", str(tmp_path))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster of its own."""
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def tick(sensor: Any, instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    """What the sensor says now."""
    return sensor(dg.build_sensor_context(instance=instance, cursor=cursor))


def reason(result: Any) -> str:
    """Why nothing is started."""
    assert isinstance(result, dg.SkipReason | dg.SensorResult), result
    skip = result if isinstance(result, dg.SkipReason) else result.skip_reason
    return str(skip.skip_message if isinstance(skip, dg.SkipReason) else skip)


def trained(db: psycopg.Connection[Any], version: str, ago: timedelta) -> None:
    """Say that a version was made so long ago."""
    db.execute(b"update model_versions set trained_at = %s where version = %s", (NOW - ago, version))


def drift(db: psycopg.Connection[Any], share: float, ago: timedelta, **more: Any) -> None:
    """A drift report."""
    row = (uuid.uuid4(), NOW - ago, Jsonb({"namespace": "shop", "drifted_share": share, **more}))
    db.execute(b"insert into reports values (%s, 'drift', %s, %s, 'reports/x.html')", row)


def test_one_drift_is_one_training(db: psycopg.Connection[Any], instance: dg.DagsterInstance) -> None:
    assert "no champion yet" in reason(tick(retrain, instance))
    add_versions(db, "1")
    registry.promote(db, "1", "me", "first")
    trained(db, "1", 24 * HOUR)
    assert "no drift worth it" in reason(tick(retrain, instance))
    drift(db, 0.1, 4 * HOUR, moved={"shop/api|process.memory.usage": 0.024})
    one = tick(retrain, instance).tags["forewarn/reason"]
    assert "shop/api|process.memory.usage by +2.4 % of its limit moved for good" in one
    drift(db, 0.7, 3 * HOUR)
    asked = tick(retrain, instance)
    assert isinstance(asked, dg.RunRequest) and "70% of the features drifted" in asked.tags["forewarn/reason"]
    assert tick(retrain, instance).run_key == asked.run_key  # the same state asks for the same run
    run = dg.DagsterRun(job_name="train", status=DagsterRunStatus.STARTED)
    instance.add_run(run)
    assert "a training is running" in reason(tick(retrain, instance))
    instance.report_run_failed(run)
    assert "1 failed, the last" in reason(tick(retrain, instance))
    add_versions(db, "2")
    trained(db, "2", 10 * HOUR)
    db.execute(b"update reports set created_at = %s", (NOW - 12 * HOUR,))
    drift(db, 0.72, 2 * HOUR)
    with dg.DagsterInstance.ephemeral() as later:
        assert "answered by the last training" in reason(tick(retrain, later))
        drift(db, 0.95, HOUR)
        assert "it has grown" in tick(retrain, later).tags["forewarn/reason"]


def test_a_champion_that_was_rolled_back_to_nothing_asks_for_one_training(
    db: psycopg.Connection[Any], instance: dg.DagsterInstance
) -> None:
    add_versions(db, "1")
    registry.promote(db, "1", "me", "first")
    trained(db, "1", 24 * HOUR)
    registry.roll_back(db, "me", "it is wrong")
    assert "1 was rolled back" in tick(retrain, instance).tags["forewarn/reason"]
    add_versions(db, "2")
    registry.withhold(db, "2", "me", "no better")
    trained(db, "2", 12 * HOUR)
    assert "no decay" in reason(tick(retrain, instance))  # other causes still ask


def test_labels_decay_and_new_kinds_ask_for_a_training(
    db: psycopg.Connection[Any], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_versions(db, "1")
    registry.promote(db, "1", "me", "first")
    trained(db, "1", 24 * HOUR)
    db.execute(
        b"insert into metric_series (entity, name, signal, kind) values ('shop/a', 'disk', 'disk', 'gauge'),"
        b" ('shop/a', 'disk.limit', 'disk.limit', 'gauge'), ('yard/a', 'other.limit', 'other.limit', 'gauge')"
    )
    set_clock(db, NOON + 30 * HOUR)
    assert isinstance(tick(retrain, instance), dg.SkipReason)  # nothing of it is a day old
    db.execute(b"insert into metric_rollups_1h select series_id, %s, 0, 0, 0, 1, 0 from metric_series", (NOON + HOUR,))
    assert "signals with a limit: disk" in tick(retrain, instance).tags["forewarn/reason"]
    db.execute(b"delete from metric_series")
    monkeypatch.setenv("FOREWARN_RETRAIN_NEW_LABELS", "5")
    for k in range(4):
        add_failure(db, "shop/a", NOON + (k + 1) * HOUR, predicted=False)
    add_failure(db, "yard/a", NOON + 9 * HOUR, predicted=False)  # of another namespace
    assert "4 new labels" in reason(tick(retrain, instance))
    add_failure(db, "shop/b", NOON + 9 * HOUR, predicted=False)
    assert "5 new labels" in tick(retrain, instance).tags["forewarn/reason"]


def test_a_better_shadow_is_promoted_in_the_tick(db: psycopg.Connection[Any], instance: dg.DagsterInstance) -> None:
    assert "no shadow" in reason(tick(promote_shadow, instance))
    add_versions(db, "1", "2")
    registry.promote(db, "1", "me", "first")
    registry.begin_shadow(db, "2", "me", "gate passed")
    both_score(db, "1", "2", incidents=4)
    waits = tick(promote_shadow, instance)
    assert "wait: 4 of 8 incidents" in reason(waits) and not waits.asset_events
    assert registry.find(db, "2").reason.startswith("in shadow: 4 of 8 incidents")
    assert "nothing new since: 4 of 8" in reason(tick(promote_shadow, instance, waits.cursor))
    both_score(db, "1", "2", incidents=12)
    done = tick(promote_shadow, instance, waits.cursor)
    assert "promote: better than the champion" in reason(done)
    (event,) = done.asset_events
    assert isinstance(event, dg.AssetMaterialization) and event.metadata["incidents"].value == 12
    assert stages(db) == {"1": "retired", "2": "champion"}
    assert actions(db, "2")[-1] == "dagster sensor: promote"
    assert "no shadow" in reason(tick(promote_shadow, instance, done.cursor))


def test_a_worse_shadow_is_withheld(db: psycopg.Connection[Any], instance: dg.DagsterInstance) -> None:
    add_versions(db, "1", "2")
    registry.promote(db, "1", "me", "first")
    registry.begin_shadow(db, "2", "me", "gate passed")
    both_score(db, "1", "2", incidents=10, sure=(0.9, 0.5))
    assert "withhold: worse than the champion" in reason(tick(promote_shadow, instance))
    assert stages(db) == {"1": "champion", "2": "withheld"}


def put(bundle: ModelBundle, version: str, folder: Path) -> Path:
    """A model of this version in the store; its folder there."""
    save_bundle(replace(bundle, manifest=replace(bundle.manifest, version=version)), folder / version)
    return model_store.put(folder / version).path


def served(version: str, minutes: int, ago: timedelta, **changed: Any) -> list[HealthMinute]:
    """Minutes of a champion in good health, but for what is changed."""
    well = HealthMinute(version, "champion", "p", NOW, 60, 6000, 300, 10, 0, 0, 0, 0.01, 0.02)
    return [replace(well, minute=(NOW - ago + timedelta(minutes=k)).replace(second=0), **changed)
            for k in range(minutes)]  # fmt: skip


def test_a_broken_champion_is_rolled_back_in_the_tick(
    db: psycopg.Connection[Any], instance: dg.DagsterInstance, bundle: ModelBundle, bentoml_home: Path, tmp_path: Path
) -> None:
    assert "no champion" in reason(tick(roll_back_champion, instance))
    for version in ("1", "2", "3"):
        put(bundle, version, tmp_path / "bundles")
    add_versions(db, "1", "2", "3")
    registry.promote(db, "1", "me", "first")
    registry.promote(db, "2", "me", "second")
    registry.promote(db, "3", "me", "third")
    db.execute(b"update model_versions set promoted_at = %s where version = '3'", (NOW - HOUR,))
    model_health.write(db, [*served("2", 60, 3 * HOUR), *served("3", 30, HOUR)])
    assert "champion 3 is well" in reason(tick(roll_back_champion, instance))
    model_health.write(db, served("3", 5, HOUR / 3, errors=30, last_error="answered NaN"))
    done = tick(roll_back_champion, instance)
    assert "rolled back 3 to 2: 150 of 2100 batches failed (answered NaN)" in reason(done)
    assert stages(db) == {"1": "retired", "2": "champion", "3": "broken"}
    assert done.asset_events[0].metadata["champion"].value == "2"
    assert "champion 2 is well" in reason(tick(roll_back_champion, instance))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"opened": 3}, "times as many a row as before"),
        ({"p99_seconds": 3.0}, "a batch takes 3.00 s"),
        ({"abstained": 5000}, "nothing is said"),
    ],
)
def test_each_way_to_break_is_seen(
    db: psycopg.Connection[Any], instance: dg.DagsterInstance, bundle: ModelBundle, bentoml_home: Path, tmp_path: Path,
    changed: dict[str, Any], why: str,
) -> None:  # fmt: skip
    put(bundle, "2", tmp_path / "bundles")
    add_versions(db, "1", "2")
    registry.promote(db, "1", "me", "first")
    registry.promote(db, "2", "me", "second")
    db.execute(b"update model_versions set promoted_at = %s where version = '2'", (NOW - HOUR,))
    model_health.write(db, [*served("1", 60, 3 * HOUR), *served("2", 30, HOUR, **changed)])
    assert why in reason(tick(roll_back_champion, instance))
    assert stages(db) == {"1": "champion", "2": "broken"}


def test_one_that_fails_the_smoke_test_is_rolled_back(
    db: psycopg.Connection[Any], instance: dg.DagsterInstance, bundle: ModelBundle, bentoml_home: Path, tmp_path: Path
) -> None:
    put(bundle, "2", tmp_path / "bundles")
    add_versions(db, "1", "2")
    registry.promote(db, "1", "me", "first")
    registry.promote(db, "2", "me", "second")
    result = (
        b"insert into smoke_results (run_id, model_version, entity, kind, injected, detected)"
        b" values (gen_random_uuid(), %s, 'shop/a', 'leak', 24, %s)"
    )
    for version, detected in (("1", 22), ("2", 23)):
        db.execute(result, (version, detected))
    assert "is well" in reason(tick(roll_back_champion, instance))
    db.execute(result, ("2", 0))
    assert "it sees 0 of 24 synthetic degradations, models before it saw 92%" in reason(
        tick(roll_back_champion, instance)
    )
    assert stages(db) == {"1": "champion", "2": "broken"}


def test_a_champion_whose_bytes_changed_is_rolled_back(
    db: psycopg.Connection[Any], instance: dg.DagsterInstance, bundle: ModelBundle, bentoml_home: Path, tmp_path: Path
) -> None:
    folder = put(bundle, "1", tmp_path / "bundles")
    add_versions(db, "1")
    registry.promote(db, "1", "me", "first")
    assert "is well" in reason(tick(roll_back_champion, instance))
    path = folder / "anomaly" / "isolation_forest.joblib"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match="its checksum differs"):
        model_store.load("1")
    told = reason(tick(roll_back_champion, instance))
    assert "none: the first-day model serves" in told and "isolation_forest.joblib is not what was saved" in told
    assert stages(db) == {"1": "broken"}


def test_a_manifest_that_was_rewritten_with_its_files_is_refused(
    bundle: ModelBundle, bentoml_home: Path, tmp_path: Path
) -> None:
    from forewarn.risk.bundle import sha256

    folder = put(bundle, "1", tmp_path / "bundles")
    assert model_store.load("1").version == "1" and model_store.get("1").labels["version"] == "1"
    forged = folder / "anomaly" / "isolation_forest.joblib"
    forged.write_bytes(b"cos\nsystem\n")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["anomaly/isolation_forest.joblib"] = sha256(forged)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for refuses in (model_store.get, model_store.verify, model_store.load):
        with pytest.raises(BundleError, match=r"manifest\.json is not what was saved"):
            refuses("1")


def test_a_registry_that_is_away_ends_the_tick_with_a_reason(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREWARN_POSTGRES_URL", "postgresql://nobody@127.0.0.1:9/none")
    for sensor in (retrain, promote_shadow, roll_back_champion):
        assert "PostgreSQL cannot be asked" in reason(tick(sensor, instance))


def test_drift_is_looked_at_where_there_is_a_model(db: psycopg.Connection[Any]) -> None:
    from sensors.schedules import regular_drift

    assert "no model yet" in reason(regular_drift())
    add_versions(db, "1")
    asked = regular_drift()
    assert asked.run_config["resources"]["scope"]["config"] == {"namespace": "shop"}
