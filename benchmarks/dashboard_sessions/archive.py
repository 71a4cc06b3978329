"""The archive and the life of the models of a made-up company: series, samples, roll-ups, forecasts, health, looks."""

import json
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import psycopg

from benchmarks.dashboard_sessions.company import SIGNALS, Company
from benchmarks.dashboard_sessions.history import HOUR, MINUTE, copy
from benchmarks.dashboard_sessions.predictions import MODEL
from forewarn.risk.capacity import CapacityForecast
from forewarn.risk.capacity_telling import Telling
from forewarn.risk.records import Forecast, Risk
from forewarn.stores.capacity import write_forecasts
from forewarn.stores.sample_partitions import SamplePartitions

OTHERS = ("process.cpu.utilization", "jvm.gc.duration", "system.network.io", "process.thread.count")
COPIES = 3  # instances of each of these
STEP_SECONDS, HISTORY_HOURS = 10, 5  # of the samples of what is looked at
SHADOW = "failure_model:2026-11-22.1"


def fill_archive(url: str, company: Company, looked_at: Sequence[Risk], now: datetime) -> int:
    """Some 20,000 series, and samples of the signals that people look at; how many samples."""
    with psycopg.connect(url) as connection:
        copy(connection, "metric_series", "entity name signal kind unit", _series(company))
        ids = dict(connection.execute("select entity || ' ' || name, series_id from metric_series").fetchall())
        times = [now - timedelta(seconds=s) for s in range(0, HISTORY_HOURS * 3600, STEP_SECONDS)]
        nanoseconds = np.array([int(t.timestamp()) * 10**9 for t in times])
        SamplePartitions().ensure(connection, nanoseconds)
        rows = list(_samples(looked_at, ids, times))
        copy(connection, "metric_samples", "series_id time value", rows)
    return len(rows)


def _series(company: Company) -> Iterator[tuple[str, str, str, str, str]]:
    for entity in company.entities:
        for name, _, _, unit in SIGNALS:
            signal = name.split("{")[0]
            yield entity, name, signal, "gauge", unit
            yield entity, name.replace(signal, f"{signal}.limit"), f"{signal}.limit", "gauge", unit
        for signal in OTHERS:
            for n in range(COPIES):
                yield entity, f"{signal}{{instance={n}}}", signal, "gauge", "1"


def _samples(looked_at: Sequence[Risk], ids: dict[str, int], times: Sequence[datetime]) -> Iterator[tuple[Any, ...]]:
    rng = np.random.default_rng(2)
    for risk in looked_at:
        number = ids[f"{risk.entity} {risk.signal}"]
        ages = np.linspace(0, HISTORY_HOURS, len(times))
        values = risk.limit * (0.85 - 0.11 * ages + rng.normal(0, 0.01, len(times)))
        yield from zip([number] * len(times), times, values.tolist(), strict=True)


def fill_models(url: str, now: datetime) -> None:
    """A champion and its shadow, what both said and how they did; reports are left out."""
    with psycopg.connect(url) as connection:
        _versions(connection, now)
        _said(connection, now)
        _health(connection, now)
        _looks(connection, now)


def _versions(connection: psycopg.Connection[Any], now: datetime) -> None:
    for n in range(30):
        version = {0: MODEL, 1: SHADOW}.get(n, f"failure_model:2026-10-{n:02d}.1")
        stage = {0: "champion", 1: "shadow"}.get(n, "retired")
        best = {"average_precision": 0.81, "coverage_80": 0.79, "brier_score": 0.14}
        metrics = {name: {"value": v - 0.002 * n, "baselines": {"a line": v / 2}} for name, v in best.items()}
        at = now - n * 24 * HOUR
        row = (version, stage, "v3", at, at - 14 * 24 * HOUR, at, json.dumps(metrics), "average precision 0.81", at)
        columns = "version stage feature_version trained_at data_from data_to metrics reason changed_at"
        copy(connection, "model_versions", columns, [row])


def _said(connection: psycopg.Connection[Any], now: datetime) -> None:
    columns = ("model_version role state entity signal mode predicted_at horizon_seconds probability threshold"
               " recorded_at")  # fmt: skip
    rows = (
        (version, role, "sample", f"shop/s{n % 300}", "process.memory.usage", "memory_exhaustion", now - n * 4 * MINUTE,
         21_600.0, 0.1 + 0.05 * np.sin(n / 50), 0.5, now - n * MINUTE)
        for n in range(10_000) for version, role in ((MODEL, "champion"), (SHADOW, "shadow"))
    )  # fmt: skip
    copy(connection, "shadow_predictions", columns, rows)


def _health(connection: psycopg.Connection[Any], now: datetime) -> None:
    columns = ("model_version role instance minute batches rows abstained alerts opened errors dropped p50_seconds"
               " p99_seconds")  # fmt: skip
    rows = (
        (version, role, str(instance), now.replace(second=0) - n * MINUTE, 12, 40_000, 2000, 60 + n % 9, n % 2, 0, 0,
         0.03, 0.09)
        for n in range(24 * 60) for version, role in ((MODEL, "champion"), (SHADOW, "shadow")) for instance in (1, 2)
    )  # fmt: skip
    copy(connection, "model_health", columns, rows)


def _looks(connection: psycopg.Connection[Any], now: datetime) -> None:
    columns = "at raised false_pages service_seconds services clocks reason"
    looks = (
        (now - n * HOUR, 0.1, int(n % 90 == 0), 3.6e6, 1000, "{}", "as budgeted") for n in reversed(range(28 * 24))
    )
    copy(connection, "alarm_control", columns, looks)
    run = uuid.uuid4()
    smoke = (
        (run, now - HOUR, MODEL, f"shop/s{n}", kind, 10, 10 - n % 4, 2400.0)
        for n in range(40) for kind in ("leak", "pool_creep", "log_burst")
    )  # fmt: skip
    columns = "run_id at model_version entity kind injected detected median_lead_seconds"
    copy(connection, "smoke_results", columns, smoke)


def fill_capacity(url: str, company: Company, now: datetime, signals: int = 1000) -> None:
    """Capacity forecasts of the disks, a few of them full within a week."""
    made, (name, mode, limit, unit) = now.replace(minute=0, second=0), SIGNALS[1]
    past, future = np.arange(-336, 1) * 3600.0, np.arange(0, 169, 4) * 3600.0
    by_namespace: dict[str, list[CapacityForecast]] = {}
    for n, entity in enumerate(company.entities[:signals]):
        days, chance = (1 + n % 6, 0.9) if n % 50 == 0 else (None, 0.02)
        value, slope = limit * (0.93 if days is None else 1 - 0.055 * days), limit * 0.055 / 86_400
        fan = Forecast(past.tolist(), (value + 0.1 * slope * past).tolist(), future.tolist(),
                       *((value + slope * future * k).tolist() for k in (0.7, 1.0, 1.4)))  # fmt: skip
        quantiles = (None, None, None) if days is None else (0.7 * days * 86_400.0, days * 86_400.0, None)
        forecast = CapacityForecast(
            entity=entity, signal=name, mode=mode, unit=unit, made_at=made, value=value, limit=limit, history_hours=672,
            within={"24h": 0.0, "3d": chance / 2, "7d": chance}, never=1 - chance, p10=quantiles[0], p50=quantiles[1],
            p90=quantiles[2], given=quantiles, raised=(0.2, None), growth_per_day=slope * 86_400, still=0.04,
            method="paths", signal_class="growing", coverage_80=0.81, fan=fan,
        )  # fmt: skip
        by_namespace.setdefault(entity.rpartition("/")[0], []).append(forecast)
    with psycopg.connect(url) as connection:
        for namespace, forecasts in by_namespace.items():
            telling = {(f.entity, f.signal): Telling() for f in forecasts}
            write_forecasts(connection, namespace, made, forecasts, telling)
