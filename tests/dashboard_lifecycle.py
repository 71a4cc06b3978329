"""The life of the models of a believable database: a shadow, health, smoke tests, control of false alarms, reports."""

import math
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

CHAMPION, SHADOW = "failure_model:2026-03-12.1", "failure_model:2026-03-12.3"


def lifecycle(db: psycopg.Connection, home: Path, now: datetime) -> None:
    """Everything below."""
    shadow(db, now)
    health(db)
    smoke(db)
    control(db, now)
    reports(db, home)


def shadow(db: psycopg.Connection, now: datetime) -> None:
    """A shadow that waits for its verdict, with what both said of 300 rows and what both told."""
    metrics = Jsonb({"average_precision": {"value": 0.83}, "brier_score": {"value": 0.038}})
    trained, reason = now - timedelta(hours=30), "waits: 5 of 8 incidents seen; Brier score 0.006 lower so far (p 0.08)"
    db.execute(
        "insert into model_versions values (%s,'shadow','v3',%s,%s,%s,%s,%s)",
        (SHADOW, trained, trained - timedelta(days=14), trained, metrics, reason),
    )
    for at, action, why in (
        (trained, "register", "passed the offline gate: Brier score 0.038 against 0.041 on 9 days"),
        (trained + timedelta(minutes=4), "shadow", "next to be compared with the champion on live rows"),
    ):
        db.execute(
            "insert into audit (at, actor, action, subject, reason) values (%s,'dagster',%s,%s,%s)",
            (at, action, SHADOW, why),
        )
    statement = (
        "insert into shadow_predictions (model_version, role, state, entity, signal, mode, predicted_at,"
        " horizon_seconds, probability, threshold, episode) values (%s,%s,%s,%s,%s,%s,%s,21600,%s,0.5,%s)"
    )
    for k in range(150):
        at = now - timedelta(minutes=15 * k)
        for version, role, lift in ((CHAMPION, "champion", 0.0), (SHADOW, "shadow", 0.03)):
            chance = 0.1 + lift + 0.08 * math.sin(k / 9)
            values = ("shop/api", "db.client.connections.usage", "connection_exhaustion", at)
            db.execute(statement, (version, role, "sample", *values, chance, None))
            if k % 40 == 0:
                db.execute(statement, (version, role, "open", *values, 0.7 + lift, uuid.uuid4()))


def health(db: psycopg.Connection) -> None:
    """Three hours of minutes of the champion, two of the shadow; a spell of errors an hour ago."""
    start = datetime.now(UTC).replace(second=0, microsecond=0)
    for version, role, minutes in ((CHAMPION, "champion", 180), (SHADOW, "shadow", 120)):
        for k in range(minutes):
            errors = 2 if role == "champion" and 60 <= k < 64 else 0
            slow = 0.03 + 0.01 * math.sin(k / 11)
            db.execute(
                "insert into model_health values (%s,%s,'1',%s,12,2400,310,%s,%s,%s,0,%s,%s,%s)",
                (version, role, start - timedelta(minutes=k), 14 + k % 5, int(k % 17 == 0), errors, slow, slow * 3,
                 "ValueError: a quantile is not a number" if errors else ""),
            )  # fmt: skip


def smoke(db: psycopg.Connection) -> None:
    """Two runs over three services; the newest sees less of one."""
    for age, seen in ((1, (9, 10, 4)), (25, (9, 10, 9))):
        run = uuid.uuid4()
        for entity, found in zip(("shop/api", "shop/worker", "shop/cache"), seen, strict=True):
            for kind, less in (("leak", 0), ("pool_creep", 1), ("log_burst", 3)):
                db.execute(
                    "insert into smoke_results values (%s, now() - %s, %s, %s, %s, 10, %s, %s)",
                    (run, timedelta(hours=age), CHAMPION, entity, kind, max(0, found - less), 2400.0 - 300 * less),
                )


def control(db: psycopg.Connection, now: datetime) -> None:
    """A week of hourly looks; two false pages raised the threshold for a while."""
    raised = 0.0
    for k in range(7 * 24):
        false = 1 if k in (50, 61) else 0
        raised = max(0.0, raised + (0.6 if false else -0.012))
        at, seconds = datetime.now(UTC) - timedelta(hours=7 * 24 - k), 7 * 3600.0
        reason = f"{false} false pages where 0.04 were allowed; the threshold is raised by {raised:.2f}"
        clocks = Jsonb({"shop": (now - timedelta(hours=7 * 24 - k)).isoformat()})
        db.execute(
            "insert into alarm_control (at, raised, false_pages, service_seconds, services, clocks, reason)"
            " values (%s,%s,%s,%s,7,%s,%s)",
            (at, raised, false, seconds, clocks, reason),
        )


def reports(db: psycopg.Connection, home: Path) -> None:
    """A calibration report and one of the smoke test, older than the drift report."""
    for kind, summary in (("calibration", {"ece_6h": 0.021, "coverage_80": 0.79}), ("smoke", {"detected": 0.77})):
        (home / f"reports/{kind}.html").write_text(f"<!doctype html><meta charset=utf-8><h1>{kind.capitalize()}</h1>")
        db.execute(
            "insert into reports values (%s,%s,now() - interval '2 h',%s,%s)",
            (uuid.uuid4(), kind, Jsonb(summary), f"reports/{kind}.html"),
        )
