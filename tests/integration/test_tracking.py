"""MLflow says what the registry says: after every transition, after every crash, in PostgreSQL and in SQLite."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from lifecycle_world import add_versions, stages

from forewarn.config.settings import Settings
from forewarn.stores import model_versions as registry
from forewarn.stores.schema import create_tables
from monitor_assets.registry.tracking import (
    NAME,
    Tracking,
    TrackingError,
    flat_metrics,
    log_version,
    open_tracking,
    reconcile,
    tracking_uri,
)

ROOT = Path(__file__).parents[2]
WRITES = ("create_run", "log_batch", "log_dict", "log_text", "log_artifact", "set_terminated", "create_model_version",
          "set_model_version_tag", "set_registered_model_alias", "delete_registered_model_alias")  # fmt: skip


class Crash(BaseException):
    """The process ends here."""


class Crashing:
    """MLflow's client that dies after so many writes."""

    def __init__(self, client: Any, writes: int) -> None:
        self._client, self.left = client, writes

    def __getattr__(self, name: str) -> Any:
        if name in WRITES:
            self.left -= 1
            if self.left < 0:
                raise Crash
        return getattr(self._client, name)


@pytest.fixture(scope="module")
def database(postgres_server: str) -> Iterator[str]:
    """A database for the whole module: MLflow's tables take a while to make."""
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute("create database tracking")
        url = psycopg.conninfo.make_conninfo(postgres_server, dbname="tracking")
        create_tables(url)
        yield url
        admin.execute("drop database tracking with (force)")


@pytest.fixture(scope="module")
def settings(database: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Everything in PostgreSQL, as without configuration."""
    return Settings(home=tmp_path_factory.mktemp("home"), postgres_url=database)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tracking(settings: Settings) -> Tracking:
    """MLflow on PostgreSQL."""
    return open_tracking(settings)


@pytest.fixture
def db(database: str) -> Iterator[psycopg.Connection[Any]]:
    """The registry, empty."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("truncate model_versions, audit")
        yield connection


def aliases(tracking: Tracking) -> dict[str, str]:
    """Our versions by alias."""
    client = tracking.client
    held = client.get_registered_model(NAME).aliases
    return {alias: client.get_model_version(NAME, number).tags["forewarn.version"] for alias, number in held.items()}


def test_aliases_follow_and_nothing_is_done_twice(db: psycopg.Connection[Any], tracking: Tracking) -> None:
    add_versions(db, "a1", "a2")
    registry.promote(db, "a1", "me", "first")
    registry.begin_shadow(db, "a2", "me", "next")
    done = reconcile(tracking, registry.versions(db))
    assert {"registered a1", "registered a2", "champion is a1", "shadow is a2"} <= set(done)
    assert aliases(tracking) == {"champion": "a1", "shadow": "a2"}
    assert reconcile(tracking, registry.versions(db)) == []
    registry.promote(db, "a2", "me", "better")
    assert set(reconcile(tracking, registry.versions(db))) == {
        "a2 is champion", "a1 is retired", "champion is a2", "no shadow",
    }  # fmt: skip
    registry.roll_back(db, "me", "broke")
    reconcile(tracking, registry.versions(db))
    assert aliases(tracking) == {"champion": "a1"}
    broken = next(v for v in tracking.client.search_model_versions(f"name='{NAME}'") if v.tags["stage"] == "broken")
    assert (broken.tags["forewarn.version"], broken.tags["reason"]) == ("a2", "broke")


def test_a_run_tells_what_a_version_was_trained_on(
    db: psycopg.Connection[Any], tracking: Tracking, tmp_path: Path
) -> None:
    add_versions(db, "b1")
    report = tmp_path / "backtest.html"
    report.write_text("<p>good</p>")
    number = log_version(tracking, registry.find(db, "b1"), {"threshold": 0.4}, [report], "dagster-run")
    assert log_version(tracking, registry.find(db, "b1"), {"threshold": 0.4}, [report]) == number
    run = tracking.client.get_run(number)
    assert run.info.status == "FINISHED" and run.data.tags["dagster.run_id"] == "dagster-run"
    assert run.data.params["threshold"] == "0.4" and run.data.params["namespace"] == "shop"
    assert run.data.metrics == {"recall": 0.9, "recall/predict_linear": 0.5, "precision": 0.8}
    assert [f.path for f in tracking.client.list_artifacts(number, "reports")] == ["reports/backtest.html"]
    mine = [v for v in tracking.client.search_model_versions(f"name='{NAME}'") if v.run_id == number]
    assert len(mine) == 1 and mine[0].tags["bentoml"] == "forewarn:b1"


def test_a_crash_after_any_write_is_made_good(db: psycopg.Connection[Any], tracking: Tracking) -> None:
    """Dies before its first write, its second … until it gets through; each time the next one completes it."""
    for writes in range(40):
        old, new = f"c{writes}", f"d{writes}"
        db.execute("truncate model_versions")
        add_versions(db, old, new)
        registry.promote(db, old, "me", "first")
        reconcile(tracking, registry.versions(db))
        registry.promote(db, new, "me", "second")
        crashing = Crashing(tracking.client, writes)
        try:
            reconcile(Tracking(crashing, tracking.artifacts, tracking.postgres_url), registry.versions(db))
        except Crash:
            assert registry.served(db).champion == new  # the switch had been thrown, whole
        reconcile(tracking, registry.versions(db))
        assert aliases(tracking) == {"champion": new}
        if crashing.left >= 0:
            break
    assert 3 <= writes < 39
    known = [v.tags["forewarn.version"] for v in tracking.client.search_model_versions(f"name='{NAME}'")]
    assert len(known) == len(set(known))


_CHURN = """
import sys
import psycopg
from forewarn.config.settings import Settings
from forewarn.stores import model_versions as registry
from monitor_assets.registry.tracking import open_tracking, reconcile
settings = Settings()
tracking = open_tracking(settings)
with psycopg.connect(settings.postgres_url.get_secret_value(), autocommit=True) as db:
    print("ready", flush=True)
    while True:
        for version in ("k1", "k2"):
            registry.promote(db, version, "churn", "again")
            reconcile(tracking, registry.versions(db))
"""


def test_a_process_that_is_killed_leaves_no_half_promoted_model(
    db: psycopg.Connection[Any], tracking: Tracking, settings: Settings
) -> None:
    add_versions(db, "k1", "k2")
    environment = {
        **os.environ,
        "FOREWARN_HOME": str(settings.home),
        "FOREWARN_POSTGRES_URL": settings.postgres_url.get_secret_value(),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", _CHURN], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        while not registry.served(db).champion:
            time.sleep(0.01)
        time.sleep(random.Random(os.getpid()).uniform(0.05, 0.5))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = list(stages(db).values())
    assert found.count("champion") == 1 and set(found) <= {"champion", "retired", "candidate"}
    reconcile(tracking, registry.versions(db))
    assert aliases(tracking) == {"champion": registry.served(db).champion}


def test_sqlite_will_do(db: psycopg.Connection[Any], settings: Settings, tmp_path: Path) -> None:
    add_versions(db, "s1")
    registry.promote(db, "s1", "me", "first")
    elsewhere = settings.model_copy(update={"mlflow_tracking_uri": _secret(f"sqlite:///{tmp_path}/mlflow.db")})
    own = open_tracking(elsewhere)
    assert "champion is s1" in reconcile(own, registry.versions(db))
    assert aliases(own) == {"champion": "s1"} and (tmp_path / "mlflow.db").stat().st_size > 0


def test_a_server_that_is_away_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = settings.model_copy(update={"mlflow_tracking_uri": _secret("http://127.0.0.1:9")})
    with pytest.raises(TrackingError, match="FOREWARN_MLFLOW_TRACKING_URI"):
        open_tracking(away)


def test_the_address_of_our_database_is_understood() -> None:
    def of(url: str) -> str:
        return tracking_uri(Settings(postgres_url=url))  # type: ignore[arg-type]

    uri = of("postgresql://ann:p%40ss@db:5433/watch?sslmode=require")
    assert uri.startswith("postgresql+psycopg2://ann:p%40ss@/watch?")
    assert {"host=db", "port=5433", "sslmode=require"} <= set(uri.split("?")[1].split("&"))
    assert "search_path%3Dmlflow" in uri


def test_metrics_are_flat() -> None:
    found = flat_metrics({"a": {"value": 1, "baselines": {"x y": 2, "none": None}}, "b": 3.5, "c": {"value": None}})
    assert found == {"a": 1.0, "a/x y": 2.0, "b": 3.5}


def _secret(text: str) -> Any:
    from pydantic import SecretStr

    return SecretStr(text)
