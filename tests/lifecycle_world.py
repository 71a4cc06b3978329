"""A registry with versions, and a live world in which champion and shadow have scored the same rows."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg

from forewarn.risk.bundle import Manifest
from forewarn.stores import model_versions as registry
from forewarn.stores.shadow_predictions import ShadowPrediction, write

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HORIZON = 6 * HOUR
METRICS = {"recall": {"value": 0.9, "baselines": {"predict_linear": 0.5}}, "precision": {"value": 0.8}}


def add_versions(db: psycopg.Connection[Any], *names: str, **changed: Any) -> None:
    """Candidates, each trained an hour after the one before, on namespace 'shop'."""
    for k, name in enumerate(names):
        at = NOON + k * HOUR
        manifest = Manifest(
            name, at, NOON - 240 * HOUR, at, 0.4, metrics=METRICS,
            trained_on={"namespace": "shop", "signals": ["memory"]}, **changed,
        )  # fmt: skip
        registry.register(db, manifest, "dagster", "trained")


def add_failure(db: psycopg.Connection[Any], entity: str, at: datetime, predicted: bool = True) -> None:
    """A failure that lasts half an hour."""
    db.execute(
        b"insert into failures (entity, signal, mode, failed_at, recovered_at, value, limit_value, predicted, episode)"
        b" values (%s, 'memory', 'memory_exhaustion', %s, %s, 1, 1, %s, gen_random_uuid())"
        b" on conflict do nothing",
        (entity, at, at + HOUR / 2, predicted),
    )


def both_score(
    db: psycopg.Connection[Any],
    champion: str,
    shadow: str,
    incidents: int,
    sure: tuple[float, float] = (0.5, 0.9),
    seed: int = 0,
) -> None:
    """An incident every 12 h on one of three services, rows each half hour; `sure`: what champion and shadow say ahead
    of one. The event clock stands past all horizons."""
    rng = np.random.default_rng(seed)
    entities = [f"shop/service{k}" for k in range(3)]
    failures = [(entities[k % 3], NOON + (12 * k + 9) * HOUR) for k in range(incidents)]
    for entity, at in failures:
        add_failure(db, entity, at)
    rows: list[ShadowPrediction] = []
    for step in range(24 * max(incidents, 1)):
        at = NOON + step * HOUR / 2
        for entity in entities:
            ahead = any(e == entity and at < f <= at + HORIZON for e, f in failures)
            for role, version, mean in zip(("champion", "shadow"), (champion, shadow), sure, strict=True):
                probability = float(np.clip((mean if ahead else 0.05) + rng.normal(0, 0.02), 0, 1))
                rows.append(sample(version, role, entity, at, probability))
    write(db, rows)
    set_clock(db, NOON + (12 * incidents + 30) * HOUR)


def sample(version: str, role: str, entity: str, at: datetime, probability: float) -> ShadowPrediction:
    """What a model says of the memory of an entity."""
    return ShadowPrediction(version, role, "sample", entity, "memory", "memory_exhaustion", at,
                            HORIZON.total_seconds(), probability, 0.4)  # fmt: skip


def set_clock(db: psycopg.Connection[Any], at: datetime) -> None:
    """The event clock of the namespace."""
    db.execute(
        b"insert into watermarks values ('shop', %s) on conflict (namespace) do update set at = excluded.at", (at,)
    )


def stages(db: psycopg.Connection[Any]) -> dict[str, str]:
    """Stage by version."""
    return {v.version: v.stage for v in registry.versions(db)}


def actions(db: psycopg.Connection[Any], version: str) -> Sequence[str]:
    """What the audit log says was done with a version."""
    found = db.execute(b"select actor || ': ' || action from audit where subject = %s order by audit_id", (version,))
    return [row[0] for row in found]
