"""The registry's switch on a real PostgreSQL: one champion, one shadow, every change whole and with its reason."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from forewarn.risk.bundle import Manifest
from forewarn.stores import model_versions as registry
from forewarn.stores.model_versions import Served, TransitionError
from forewarn.stores.shadow_predictions import ShadowPrediction, told, write

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def db(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection in autocommit, as the predictor has it."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


def add(db: psycopg.Connection[Any], *names: str, **changed: Any) -> None:
    """Candidates, each trained an hour after the one before."""
    for k, name in enumerate(names):
        at = NOON + timedelta(hours=k)
        registry.register(db, Manifest(name, at, NOON, at, 0.4, **changed), "dagster", "trained")


def stages(db: psycopg.Connection[Any]) -> dict[str, str]:
    """Stage by version."""
    return {v.version: v.stage for v in registry.versions(db)}


def actions(db: psycopg.Connection[Any], version: str) -> list[str]:
    """What the audit log says was done with a version."""
    found = db.execute(b"select actor || ': ' || action from audit where subject = %s order by audit_id", (version,))
    return [row[0] for row in found]


def test_an_empty_registry_serves_nothing(db: psycopg.Connection[Any]) -> None:
    assert registry.served(db) == Served(None, None, 0)
    with pytest.raises(TransitionError, match=r"no model version 'x' \(newest: none\)"):
        registry.promote(db, "x", "me", "because")
    with pytest.raises(TransitionError, match="first-day model serves"):
        registry.roll_back(db, "me", "because")


def test_a_life(db: psycopg.Connection[Any]) -> None:
    add(db, "1", "2", "3")
    registry.promote(db, "1", "dagster", "first")
    registry.begin_shadow(db, "2", "dagster", "gate passed")
    change = registry.begin_shadow(db, "3", "dagster", "fresher")
    assert (change.before.shadow, change.after.shadow) == ("2", "3")
    assert stages(db) == {"1": "champion", "2": "withheld", "3": "shadow"}
    registry.promote(db, "3", "sensor", "better")
    assert stages(db) == {"1": "retired", "2": "withheld", "3": "champion"}
    change = registry.roll_back(db, "ann", "errors")
    assert stages(db) == {"1": "champion", "2": "withheld", "3": "broken"}
    assert (change.before.champion, change.after.champion) == ("3", "1")
    registry.roll_back(db, "ann", "this one too")
    assert registry.served(db).champion is None
    assert actions(db, "3") == ["dagster: register", "dagster: shadow", "sensor: promote", "ann: roll back"]
    assert actions(db, "1")[-3:] == ["sensor: retire", "ann: restore", "ann: roll back"]


def test_a_change_shows_in_the_revision_and_nothing_else_does(db: psycopg.Connection[Any]) -> None:
    add(db, "1", "2")
    first = registry.served(db).revision
    add(db, "1")
    assert registry.served(db).revision == first
    registry.promote(db, "1", "me", "first")
    second = registry.served(db).revision
    registry.promote(db, "1", "me", "again")
    assert first < second == registry.served(db).revision
    assert actions(db, "1").count("me: promote") == 1


def test_a_decision_about_an_older_registry_is_refused(db: psycopg.Connection[Any]) -> None:
    add(db, "1", "2")
    seen = registry.served(db).revision
    registry.promote(db, "2", "ann", "by hand", expecting=seen)
    with pytest.raises(TransitionError, match="has changed since"):
        registry.promote(db, "1", "sensor", "late", expecting=seen)
    assert registry.served(db).champion == "2"


def test_what_may_not_serve_is_refused(db: psycopg.Connection[Any]) -> None:
    add(db, "1", "2")
    add(db, "old", feature_version="1")
    registry.promote(db, "1", "me", "first")
    registry.roll_back(db, "me", "broke")
    with pytest.raises(TransitionError, match=r"was rolled back \(broke\)"):
        registry.promote(db, "1", "me", "again")
    with pytest.raises(TransitionError, match="features of version 1, this program computes"):
        registry.promote(db, "old", "me", "again")
    with pytest.raises(TransitionError, match="features of version 1"):
        registry.begin_shadow(db, "old", "me", "again")
    registry.promote(db, "2", "me", "second")
    with pytest.raises(TransitionError, match="cannot shadow"):
        registry.begin_shadow(db, "2", "me", "no")
    with pytest.raises(TransitionError, match="only candidates and shadows"):
        registry.withhold(db, "2", "me", "no")


def test_two_promotions_at_a_time_leave_one_champion(postgres_url: str, db: psycopg.Connection[Any]) -> None:
    add(db, *(str(n) for n in range(6)))

    def promote(version: str) -> None:
        with psycopg.connect(postgres_url) as own:
            registry.promote(own, version, "thread", "race")

    threads = [threading.Thread(target=promote, args=(str(n),)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    found = list(stages(db).values())
    assert found.count("champion") == 1 and found.count("retired") == 5


def test_a_transition_that_dies_in_the_middle_never_was(postgres_url: str, db: psycopg.Connection[Any]) -> None:
    add(db, "1", "2")
    registry.promote(db, "1", "me", "first")
    before = (stages(db), actions(db, "2"))
    with pytest.raises(psycopg.Error), psycopg.connect(postgres_url) as own, own.transaction():
        registry.promote(own, "2", "me", "second")
        db.execute("select pg_terminate_backend(%s)", (own.info.backend_pid,))  # dies before its commit
    assert (stages(db), actions(db, "2")) == before


def test_predictions_of_both_are_kept_once(db: psycopg.Connection[Any]) -> None:
    row = ShadowPrediction("2", "shadow", "open", "shop/api", "memory", "memory_exhaustion", NOON, 21600, 0.8, 0.4,
                           60.0, 120.0, None, "00000000-0000-0000-0000-000000000001", 1)  # fmt: skip
    write(db, [row])
    write(db, [row])
    assert told(db, "2") == [row] and told(db, "1") == []
