"""A believable state of the tables, for the dashboard's tests and for looking at it.

`python tests/dashboard_state.py POSTGRES_URL HOME` fills a database by hand.
"""

import json
import random
import sys
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg
from dashboard_lifecycle import lifecycle
from psycopg.types.json import Jsonb

from forewarn.incidents.records import Incident, encode_incident
from forewarn.risk.capacity import CapacityForecast
from forewarn.risk.capacity_telling import Telling, risk_of
from forewarn.risk.records import Action, Driver, Forecast, Risk, TimeToFailure, encode, episode_of
from forewarn.stores.capacity import write_forecasts
from forewarn.stores.incident_causes import LocatedCauses, PostgresIncidentCauses, RankedCause
from forewarn.stores.schema import create_tables

NOW = datetime(2026, 3, 12, 14, 30, tzinfo=UTC)  # the shop's event clock
HOUR = timedelta(hours=1)
POOL = "db.client.connections.usage"
HORIZON = 6 * 3600.0
MODES = {
    "connection_exhaustion": ("shop/api", POOL, 100.0, "{connection}"),
    "disk_full": ("shop/checkout-db", "system.filesystem.usage", 200e9, "By"),
    "memory_exhaustion": ("shop/worker", "process.memory.usage", 2e9, "By"),
    "queue_backlog": ("shop/worker", "messaging.queue.depth", 10_000.0, "{message}"),
    "error_climb": ("shop/payment", "http.server.request.error_ratio", 0.05, "1"),
    "latency_climb": ("shop/cache", "http.server.request.duration", 0.5, "s"),
}
EDGES = [
    ("shop/gateway", "shop/api", 812_400, 96),
    ("shop/api", "shop/checkout-db", 1_930_100, 411),
    ("shop/api", "shop/cache", 2_210_900, 12),
    ("shop/api", "shop/payment", 96_200, 871),
    ("shop/api", "shop/worker", 61_000, 3),
    ("shop/worker", "shop/checkout-db", 120_400, 20),
]


def risk(mode: str, at: datetime, hours: float, **changes: object) -> Risk:
    """A prediction that the mode's signal fails in so many hours, with an 80 % interval of 0.65 to 1.55 of it."""
    entity, signal, limit, unit = MODES[mode]
    seconds = hours * 3600
    history = np.linspace(-8 * 3600, 0, 97)
    future = np.linspace(0, HORIZON, 37)
    value = limit * (1 - 0.16 * hours)
    wave = np.random.default_rng(3).normal(0, limit * 0.006, history.shape)
    past = value - limit * 0.3 * (1 - np.exp(history / 6000)) + wave
    slope = (limit - value) / max(seconds, 60)
    prediction = Risk(
        episode=episode_of(entity, signal, mode, at),
        revision=1,
        state="open",
        entity=entity,
        signal=signal,
        mode=mode,
        predicted_at=at,
        horizon_seconds=HORIZON,
        probability=0.88,
        time_to_failure=TimeToFailure(seconds * 0.65, seconds, seconds * 1.55, 0.12),
        value=float(value),
        limit=limit,
        unit=unit,
        drivers=[
            Driver(
                "shop/gateway",
                "http.server.request.rate",
                "request rate of shop/gateway +38 %/h",
                0.46,
                query='sum(rate(http_server_request_duration_seconds_count{service_name="gateway"}[5m]))',
            ),
            Driver("shop/checkout-db", "db.query.duration", "slow queries of shop/checkout-db: p95 40 → 210 ms", 0.31),
            Driver("shop/api", "deployment", "deploy api 2.14.0 at 12:52", 0.14, hypothesis=True),
        ],
        evidence=[
            f"{signal} rose by 9.1 % an hour over the last 3 h; the same hours of the last 7 days: 0.4 %.",
            "Without the request rate of shop/gateway the probability falls from 88 % to 41 %.",
            "Queries over 200 ms: 2.1 % of all, 6 times the usual share at this hour.",
        ],
        actions=[
            Action(
                "Raise the pool from 100 to 140 connections: reaches its limit 4.8 h later.", "https://example.com/a"
            ),
            Action("Add an index on orders(customer_id), or send reads to a replica."),
            Action("Roll back api 2.14.0 if the climb began with it."),
        ],
        evidence_queries=[
            'db_client_connections_usage{service_namespace="shop", service_name="api"}',
            "",
            '{service_name="checkout-db"} |= "slow query"',
        ],
        forecast=Forecast(
            history.tolist(),
            [float(v) for v in past],
            future.tolist(),
            (value + slope * future * 0.62).tolist(),
            (value + slope * future).tolist(),
            (value + slope * future * 1.5).tolist(),
        ),
        model_version="failure_model:2026-03-12.1",
    )
    return replace(prediction, **changes)  # type: ignore[arg-type]


def incident_of(prediction: Risk, state: str = "predicted", severity: str = "critical", **changes: object) -> Incident:
    """The incident of one prediction."""
    hours = (prediction.time_to_failure.p50 or 0) / 3600
    built = Incident(
        incident_id=str(uuid.uuid5(uuid.NAMESPACE_URL, prediction.episode)),
        version=1,
        state=state,
        severity=severity,
        title=f"{prediction.entity}: {prediction.signal} reaches its limit",
        entity=prediction.entity,
        signal=prediction.signal,
        mode=prediction.mode,
        episodes=[prediction.episode],
        opened_at=prediction.predicted_at,
        updated_at=prediction.predicted_at,
        time_to_failure=prediction.time_to_failure,
        failed_at=None,
        drivers=prediction.drivers,
        actions=prediction.actions,
        summary=(
            f"{prediction.entity}: {prediction.signal} reaches its limit of {prediction.limit:g} in {hours:.1f} h "
            f"(80 %: {hours * 0.65:.1f}–{hours * 1.55:.1f} h; 12 %: never), driven by request rate of shop/gateway "
            "(+38 %/h) and slow queries; raise the pool to 140 or add a read replica."
        ),
    )
    return replace(built, **changes)  # type: ignore[arg-type]


def add_risk(db: psycopg.Connection, r: Risk) -> None:
    """Append a prediction to the ledger."""
    ttf = r.time_to_failure
    values = (r.risk_id, r.episode, r.revision, r.state, r.entity, r.signal, r.mode, r.predicted_at, r.expires_at)
    db.execute(
        "insert into risks values (%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s)",
        (*values, r.probability, ttf.p10, ttf.p50, ttf.p90, r.model_version, encode(r).decode()),
    )


def add_incident(db: psycopg.Connection, i: Incident) -> None:
    """Store or replace an incident and its episodes."""
    values = (i.incident_id, i.version, i.state, i.severity, i.entity, i.mode, i.title, i.opened_at, i.updated_at)
    db.execute("delete from incidents where incident_id = %s", (i.incident_id,))
    db.execute(
        "insert into incidents values (%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s)",
        (*values, i.failed_at, encode_incident(i).decode()),
    )
    for episode in i.episodes:
        db.execute("insert into incident_episodes values (%s,%s) on conflict do nothing", (episode, i.incident_id))


def resolve(db: psycopg.Connection, r: Risk, outcome: str, failed_at: datetime | None) -> None:
    """Write what became of a prediction."""
    lead = (failed_at - r.predicted_at).total_seconds() if failed_at else None
    ttf = r.time_to_failure
    error = ttf.p50 - lead if lead is not None and ttf.p50 is not None else None
    inside = lead is not None and (ttf.p10 or 0) <= lead <= (ttf.p90 or float("inf"))
    db.execute(
        "insert into outcomes values (%s,%s,%s,%s,%s,%s,%s,%s)",
        (r.risk_id, r.episode, outcome, failed_at or r.expires_at, failed_at, lead, error, inside if lead else None),
    )


def add_failure(db: psycopg.Connection, mode: str, at: datetime, predicted: bool, recovered: datetime | None) -> None:
    """Write a failure that was seen."""
    entity, signal, limit, _ = MODES[mode]
    db.execute(
        "insert into failures (entity, signal, mode, failed_at, recovered_at, value, limit_value, predicted, episode)"
        " values (%s,%s,%s,%s,%s,%s,%s,%s,gen_random_uuid())",
        (entity, signal, mode, at, recovered, limit * 1.01, limit, predicted),
    )


def open_incident(db: psycopg.Connection) -> Incident:
    """The incident that is predicted now: five revisions, the last 6 minutes old; a symptom beside it."""
    first = risk("connection_exhaustion", NOW - 2 * HOUR, 4.4)
    for k in range(5):
        at = first.predicted_at + k * timedelta(minutes=28.5)
        hours = (4.4, 3.9, 3.1, 2.75, 2.2)[k]
        newer = risk("connection_exhaustion", at, hours, episode=first.episode, revision=k + 1)
        newer = replace(newer, state="open" if k == 0 else "update", probability=0.58 + 0.075 * k)
        add_risk(db, newer)
    symptom = risk("latency_climb", NOW - HOUR, 3.0, entity="shop/gateway", signal="http.server.request.duration")
    add_risk(db, symptom)
    incident = incident_of(newer, episodes=[first.episode, symptom.episode], opened_at=first.predicted_at, version=5)
    add_incident(db, incident)
    return incident


def causes(db: psycopg.Connection, incident: Incident) -> None:
    """Where the telemetry around the open incident points to."""
    suspects = [
        RankedCause(
            "shop/checkout-db",
            0.58,
            [
                "db.query.duration rose from 40 to 210 ms at 12:49, before anything else",
                "41 lines 'slow query' an hour",
            ],
            ['histogram_quantile(0.95, rate(db_query_duration_bucket{service_name="checkout-db"}[5m]))'],
        ),
        RankedCause("shop/gateway", 0.27, ["http.server.request.rate +38 % an hour"], [""]),
    ]
    sentence = "The telemetry points to shop/checkout-db first: its queries became slow before the pool filled."
    at = incident.opened_at
    found = LocatedCauses(
        incident.incident_id, "prediction", "other", sentence, suspects, at - HOUR / 2, at, 3.1, datetime.now(UTC)
    )
    PostgresIncidentCauses(db).put(found)


def capacity(db: psycopg.Connection) -> str:
    """Two disks and a pool with capacity forecasts; the first has an open risk, whose episode is returned."""
    made = NOW.replace(minute=0)
    episode = episode_of("shop/checkout-db", "capacity", "disk_full", made)
    full = filling("shop/checkout-db", "disk_full", 2.4, 0.91)
    later = filling("shop/worker", "memory_exhaustion", 5.6, 0.58)
    unlikely = filling("shop/worker", "queue_backlog", None, 0.03)
    told = {(f.entity, f.signal): Telling() for f in (later, unlikely)}
    told[(full.entity, full.signal)] = Telling(identity=episode)
    write_forecasts(db, "shop", made, [full, later, unlikely], told)
    before = replace(full, made_at=made - HOUR)
    add_risk(db, risk_of(before, "open", episode, 1))
    return episode


def filling(entity: str, mode: str, days: float | None, chance: float) -> CapacityForecast:
    """A capacity forecast that is full in so many days with such a chance within 7."""
    _, signal, limit, unit = MODES[mode]
    past, future = np.arange(-336, 1) * 3600.0, np.arange(0, 169, 4) * 3600.0
    value = limit * (0.93 if days is None else 1 - 0.055 * days)
    slope = limit * 0.055 / 86400 if days is not None else 0.0
    history = value + slope * past + limit * 0.01 * np.sin(past / 86400 * 2 * np.pi)
    fan = Forecast(
        past.tolist(), history.tolist(), future.tolist(), (value + slope * future * 0.7).tolist(),
        (value + slope * future).tolist(), (value + slope * future * 1.4).tolist(),
    )  # fmt: skip
    quantiles = (None, None, None) if days is None else tuple(days * 86400 * k for k in (0.7, 1.0, 1.5))
    p90 = quantiles[2] if quantiles[2] is not None and quantiles[2] < 7 * 86400 else None
    within = {"1h": 0.0, "3h": 0.0, "6h": 0.01, "24h": chance * 0.05, "3d": chance * 0.66, "7d": chance}
    return CapacityForecast(
        entity=entity, signal=signal, mode=mode, unit=unit, made_at=NOW.replace(minute=0), value=float(value),
        limit=limit, history_hours=672, within=within, never=1 - chance, p10=quantiles[0], p50=quantiles[1], p90=p90,
        given=(quantiles[0], quantiles[1], p90), raised=(chance * 0.2, None), growth_per_day=slope * 86400,
        still=0.04, method="paths", signal_class="growing", coverage_80=0.81, fan=fan,
    )  # fmt: skip


def anomalies(db: psycopg.Connection) -> None:
    """One that lasts, and two that ended."""
    text = "CPU of shop/cache is 0.92 where it usually is 0.21 to 0.44 at this hour"
    for entity, begins, ends in (("shop/cache", 26, None), ("shop/payment", 1500, 1460), ("build-7", 3000, 2970)):
        db.execute(
            "insert into anomalies values (%s,%s,%s,0.002,%s,'[]')",
            (entity, NOW - timedelta(minutes=begins), NOW - timedelta(minutes=ends) if ends else None, text),
        )


def past_episodes(db: psycopg.Connection) -> None:
    """Two weeks of ledger: hits, late ones, false alarms, averted, dismissed."""
    rng = random.Random(11)
    outcomes = ["hit"] * 17 + ["late"] * 2 + ["expired"] * 4 + ["averted"] * 2 + ["dismissed"]
    rng.shuffle(outcomes)
    for k, outcome in enumerate(outcomes):
        mode = rng.choice(list(MODES)) if outcome != "hit" else ("connection_exhaustion", *MODES)[k % 7]
        hours = rng.uniform(0.7, 5.0)
        at = NOW - timedelta(hours=10 + 12.5 * k)
        first = risk(mode, at, hours, probability=round(rng.uniform(0.55, 0.97), 2))
        second = replace(
            risk(mode, at + timedelta(minutes=20), max(0.4, hours - 0.4)),
            episode=first.episode,
            revision=2,
            state="update",
        )
        failed = at + HOUR * hours * rng.lognormvariate(0, 0.28) if outcome in ("hit", "late") else None
        for r in (first, second):
            add_risk(db, r)
            resolve(db, r, outcome, failed)
        state = {"hit": "resolved", "late": "resolved", "averted": "averted"}.get(outcome, "expired")
        add_incident(
            db,
            incident_of(
                second,
                state,
                "warning",
                failed_at=failed,
                opened_at=at,
                updated_at=(failed or at) + HOUR / 2,
                episodes=[first.episode],
            ),
        )
        if failed:
            add_failure(db, mode, failed, True, failed + timedelta(minutes=25))
    add_failure(db, "error_climb", NOW - timedelta(hours=31), False, NOW - timedelta(hours=30))
    add_failure(db, "disk_full", NOW - timedelta(minutes=44), False, NOW - timedelta(minutes=21))


def measured(db: psycopg.Connection) -> None:
    """Series of the shop and of a host, with ten hours of samples of the pool."""
    db.execute("create table if not exists samples_all partition of metric_samples default")
    for entity, signal, limit, unit in [*MODES.values(), ("build-7", "system.cpu.utilization", 1.0, "1")]:
        for name in (signal, signal + ".limit", "process.cpu.utilization"):
            row = db.execute(
                "insert into metric_series (entity, name, signal, kind, unit) values (%s,%s,%s,'gauge',%s)"
                " on conflict (entity, name) do update set unit = excluded.unit returning series_id",
                (entity, name, name, unit),
            ).fetchone()
            assert row is not None
            quiet = entity == "shop/cache" and name == "process.cpu.utilization"
            steps = np.arange(0, 600, 2)[: 285 if quiet else None]
            values = limit * (0.42 + 0.22 * (steps / 600) ** 3) if name == signal else np.full(len(steps), limit)
            jitter = np.random.default_rng(len(name)).normal(0, limit * 0.006, len(steps)) if name == signal else 0
            with db.cursor().copy("copy metric_samples from stdin") as copy:
                for step, value in zip(steps, values + jitter, strict=True):
                    copy.write_row((row[0], NOW - timedelta(minutes=600 - int(step)), float(value)))


def registry(db: psycopg.Connection, home: Path) -> None:
    """A champion, a candidate, a retired version; a drift report on disk; the decisions."""
    metrics = {
        "average_precision": {"value": 0.81, "baselines": {"linear extrapolation": 0.52, "base rate": 0.07}},
        "brier_score": {"value": 0.041, "baselines": {"linear extrapolation": 0.089, "base rate": 0.065}},
        "coverage_80": {"value": 0.79, "baselines": {"naive quantiles": 0.61}},
        "median_lead_seconds": {"value": 6120.0, "baselines": {"linear extrapolation": 2400.0}},
    }
    worse = {k: {**v, "value": round(v["value"] * 0.93, 4)} for k, v in metrics.items()}  # type: ignore[operator]
    for version, stage, age, shown, reason in [
        ("failure_model:2026-03-12.1", "champion", 3, metrics, "average precision 0.81 against 0.78 on 9 days"),
        ("failure_model:2026-03-12.2", "candidate", 1, worse, "waits for 500 predictions in shadow (212 so far)"),
        ("failure_model:2026-03-05.1", "retired", 170, worse, "replaced by failure_model:2026-03-12.1"),
    ]:
        trained = NOW - age * HOUR
        db.execute(
            "insert into model_versions values (%s,%s,%s,%s,%s,%s,%s,%s)",
            (version, stage, "v3", trained, trained - timedelta(days=14), trained, Jsonb(shown), reason),
        )
        db.execute(
            "insert into audit (at, actor, action, subject, reason) values (%s,'dagster',%s,%s,%s)",
            (trained, {"champion": "promote", "candidate": "register"}.get(stage, "retire"), version, reason),
        )
    (home / "reports").mkdir(parents=True, exist_ok=True)
    (home / "reports/drift.html").write_text(
        "<!doctype html><meta charset=utf-8><body style='font-family:sans-serif'><h1>Data drift</h1><p>2 of 14 drift."
    )
    summary = Jsonb({"drifted": 2, "features": 14, "share": 0.143})
    db.execute("insert into reports values (%s,'drift',now(),%s,'reports/drift.html')", (uuid.uuid4(), summary))


def processes(db: psycopg.Connection) -> None:
    """What runs, its counters, and why some signals are silent."""
    for service, counters in {
        "gateway": {"requests_total": 182_411, "samples_total": 9_120_550, "rejected_total": 3},
        "predictor": {"samples_total": 9_120_411, "windows_total": 151_200, "lag_messages": 2, "score_seconds": 0.018},
        "archiver": {"rows_total": 9_118_002, "lag_messages": 14, "dead_letters_total": 2},
        "alerter": {"risks_total": 61, "incidents_total": 27, "messages_total": 31, "lag_messages": 0},
    }.items():
        age = timedelta(seconds=95 if service == "archiver" else 1)
        db.execute(
            "insert into service_status values (%s,'1',%s,now() - interval '3 h',now() - %s,%s)",
            (service, 4000 + len(service), age, Jsonb(counters)),
        )
    reasons = {"too little history: 3 h of 8 h": 5, "late data": 2, "counter reset": 1}
    for reason, count in reasons.items():
        for k in range(count):
            entity = ("shop/cache", "build-7", "shop/payment")[k % 3]
            values = (entity, f"process.signal_{reason[:4].strip()}_{k}", reason, NOW - timedelta(minutes=3 * k))
            db.execute("insert into abstentions values (%s,%s,%s,%s)", values)


def fill(postgres_url: str, home: Path) -> Incident:
    """Everything above; returns the open incident."""
    create_tables(postgres_url)
    with psycopg.connect(postgres_url) as db:
        for client, server, calls, errors in EDGES:
            db.execute("insert into service_edges values (%s,%s,%s,%s,%s)", (client, server, calls, errors, NOW))
        db.execute("insert into watermarks values ('shop', %s), ('', %s)", (NOW, datetime.now(UTC)))
        deploy = {"event.name": "deployment", "service.version": "2.14.0"}
        db.execute(
            "insert into log_records values (%s,'shop/api','INFO','deployed api 2.14.0',%s)",
            (NOW - timedelta(minutes=38), json.dumps(deploy)),
        )
        for days in (1, 4, 9):
            at = NOW - timedelta(days=days, hours=3)
            db.execute(
                "insert into log_records values (%s,'shop/payment','INFO',%s,%s)",
                (at, f"deployed payment 1.{20 - days}.0", json.dumps(deploy)),
            )
        incident = open_incident(db)
        causes(db, incident)
        capacity(db)
        anomalies(db)
        past_episodes(db)
        measured(db)
        registry(db, home)
        lifecycle(db, home, NOW)
        processes(db)
    return incident


if __name__ == "__main__":
    print(fill(sys.argv[1], Path(sys.argv[2])).incident_id)
