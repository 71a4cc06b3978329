"""Predictions of champion and shadow are resolved in SQL as the ledger's rules resolve them in Python."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from lifecycle_world import HORIZON, HOUR, NOON, add_failure, sample, set_clock

from forewarn.evaluation.ledger import Prediction, outcome_on_arrival
from forewarn.stores.lifecycle.shadowing import progress, shadow_evidence
from forewarn.stores.shadow_predictions import prune, write

WINDOW = HOUR / 2


@pytest.fixture
def db(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """An empty ledger."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


def test_rows_are_resolved_as_the_ledger_does(db: psycopg.Connection[Any]) -> None:
    rng = np.random.default_rng(3)
    entities = ["shop/a", "shop/b"]
    failures = sorted((entities[int(rng.integers(2))], NOON + int(rng.integers(1, 60)) * HOUR) for _ in range(8))
    for entity, at in failures:
        add_failure(db, entity, at)
    clock = NOON + 66 * HOUR
    set_clock(db, clock)
    expected: dict[float, bool] = {}  # by what the champion says, which is another number in each row
    for step in range(150):
        at = NOON + step * HOUR / 2 + timedelta(minutes=7)
        for k, entity in enumerate(entities):
            p = (2 * step + k) / 1000
            write(db, [sample("1", "champion", entity, at, p), sample("2", "shadow", entity, at, 1 - p)])
            own = [f for e, f in failures if e == entity]
            if at + HORIZON >= clock or any(f <= at < f + HOUR / 2 for f in own):
                continue  # not over yet, or failing at the time
            prediction = Prediction("r", "e", 1, "open", entity, "memory", "m", at, at + HORIZON, p, 1.0, 2.0, 3.0)
            outcome = outcome_on_arrival(prediction, own, clock, None, 60.0)
            assert outcome is not None
            expected[p] = outcome.outcome in ("hit", "late")
    pairs = shadow_evidence(db, "1", "2", WINDOW, 60.0).pairs
    assert len(pairs.failed) > 150 and 0 < pairs.failed.mean() < 1
    np.testing.assert_allclose(pairs.shadow, 1 - pairs.champion)
    assert dict(zip(pairs.champion.tolist(), pairs.failed.tolist(), strict=True)) == expected
    some = shadow_evidence(db, "1", "2", WINDOW, 60.0, most_rows=100).pairs  # of 300 samples
    assert 0.15 * len(pairs.failed) < len(some.failed) < 0.55 * len(pairs.failed)
    assert set(some.champion.tolist()) < set(pairs.champion.tolist())


def test_what_somebody_acted_upon_is_neither_true_nor_false(db: psycopg.Connection[Any]) -> None:
    set_clock(db, NOON + 100 * HOUR)
    for k in range(24):
        at = NOON + k * HOUR
        write(db, [sample("1", "champion", "shop/a", at, 0.1), sample("2", "shadow", "shop/a", at, 0.2)])
    assert len(shadow_evidence(db, "1", "2", WINDOW, 60.0).pairs.failed) == 24
    risk = ("00000000-0000-0000-0000-000000000001",) * 2
    db.execute(
        b"insert into risks values (%s, %s, 1, 'open', 'shop/a', 'memory', 'm', %s, %s, 0.9, 1, 2, 3, '1', '{}')",
        (*risk, NOON + 10 * HOUR, NOON + 16 * HOUR),
    )
    db.execute(b"insert into outcomes values (%s, %s, 'averted', %s)", (*risk, NOON + 12 * HOUR))
    left = shadow_evidence(db, "1", "2", WINDOW, 60.0).pairs
    assert len(left.failed) == 24 - 13  # from 6 h before the prediction until it expires


def test_progress_changes_when_there_is_something_to_judge(db: psycopg.Connection[Any]) -> None:
    set_clock(db, NOON)
    first = progress(db, "2", 3600.0)
    set_clock(db, NOON + HOUR / 3)
    assert progress(db, "2", 3600.0) == first
    add_failure(db, "shop/a", NOON)
    second = progress(db, "2", 3600.0)
    assert second != first
    set_clock(db, NOON + 2 * HOUR)
    assert progress(db, "2", 3600.0) != second


def test_old_predictions_are_pruned(db: psycopg.Connection[Any]) -> None:
    write(db, [sample("1", "champion", "shop/a", NOON, 0.1), sample("2", "shadow", "shop/a", NOON, 0.2)])
    assert prune(db, 24 * HOUR) == 0
    db.execute(b"update shadow_predictions set recorded_at = now() - interval '2 days' where role = 'shadow'")
    assert prune(db, 24 * HOUR) == 1
