"""A disk that fills in days is told from roll-ups alone, once, and taken back when it calms down."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg
import pytest
from confluent_kafka import Consumer
from typer.testing import CliRunner

from forewarn.cli.app import app
from forewarn.config.settings import Settings
from forewarn.risk.capacity_telling import is_capacity
from forewarn.risk.records import FailureObserved, Forecast, Risk, TimeToFailure, Watermark, decode_risk, encode
from forewarn.services.alerter.desk import Desk, Rules, Stores
from forewarn.services.capacity import refresh
from forewarn.services.told import Told
from forewarn.stores.audit import PostgresAudit
from forewarn.stores.feedback import PostgresFeedback
from forewarn.stores.incidents import PostgresIncidents
from forewarn.stores.ledger import PostgresLedger
from forewarn.stores.log import create_topics
from forewarn.stores.outbox import PostgresOutbox
from forewarn.stores.views import capacity_view
from forewarn.telemetry import topics

START = datetime(2026, 3, 1, tzinfo=UTC)
GIB = 2.0**30
DISK = "system.filesystem.usage{mountpoint=/data}"


def roll_up(
    url: str, entity: str, signal: str, values: np.ndarray, attributes: dict[str, str], kind: str = "gauge"
) -> None:
    """Hourly roll-ups of one series from START on, and the event clock at their end."""
    name = signal + (f"{{{','.join(f'{k}={v}' for k, v in attributes.items())}}}" if attributes else "")
    with psycopg.connect(url) as db:
        (number,) = db.execute(
            "insert into metric_series (entity, name, signal, attributes, kind, unit) values (%s, %s, %s, %s, %s, 'By')"
            " on conflict (entity, name) do update set unit = 'By' returning series_id",
            (entity, name, signal, json.dumps(attributes), kind),
        ).fetchone()
        rows = [(number, START + timedelta(hours=h), v, v, v, 60, v) for h, v in enumerate(values.tolist())]
        db.cursor().executemany(
            "insert into metric_rollups_1h (series_id, time, min, max, mean, count, last)"
            " values (%s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
            rows,
        )
        end = START + timedelta(hours=len(values))
        PostgresLedger(db).set_watermark("shop", end)


def fill_archive(url: str, hours: int) -> None:
    """A disk of 100 GiB that grows by 10 GiB a day from 40, and one that swings by day far below its limit."""
    rng = np.random.default_rng(4)
    t = np.arange(400)
    growing = (40 + 10 * t / 24 + rng.normal(0, 0.1, 400)) * GIB
    swinging = (30 + 5 * np.sin(2 * np.pi * t / 24) + rng.normal(0, 0.1, 400)) * GIB
    for mount, values in (("/data", growing), ("/var", swinging)):
        attributes = {"mountpoint": mount}
        roll_up(url, "shop/db", "system.filesystem.usage", values[:hours], attributes)
        roll_up(url, "shop/db", "system.filesystem.usage.limit", np.full(hours, 100 * GIB), attributes)


@pytest.fixture
def settings(postgres_url: str, own_broker: str) -> Settings:
    create_topics(own_broker, 1)
    return Settings(postgres_url=postgres_url, kafka_bootstrap=own_broker, _env_file=None)


def risks_on(broker: str, count: int) -> list[Risk]:
    """The first `count` risks on the topic."""
    reader = Consumer({"bootstrap.servers": broker, "group.id": "test", "auto.offset.reset": "earliest"})
    reader.subscribe([topics.RISKS])
    found: list[Risk] = []
    try:
        for _ in range(300):
            message = reader.poll(0.2)
            if message is not None and message.error() is None:
                found.append(decode_risk(message.value()))
            if len(found) >= count:
                break
    finally:
        reader.close()
    return found


def desk_of(db: psycopg.Connection) -> Desk:
    stores = Stores(
        PostgresLedger(db), PostgresIncidents(db), PostgresOutbox(db), PostgresFeedback(db), PostgresAudit(db)
    )
    return Desk(stores, Rules())


def test_a_disk_that_fills_in_days_is_told_once_and_comes_true(settings: Settings) -> None:
    url = settings.postgres_url.get_secret_value()
    fill_archive(url, 72)
    (first,) = refresh(settings)
    assert first.risks == []  # two forecasts in a row are asked for
    (again,) = refresh(settings)
    assert again.risks == []  # the same hour does not count twice
    fill_archive(url, 73)
    (second,) = refresh(settings)
    (risk,) = second.risks
    assert (risk.entity, risk.signal, risk.mode, risk.state) == ("shop/db", DISK, "disk_full", "open")
    assert is_capacity(risk.model_version) and risk.probability > 0.7
    days_left = 3.0  # at 70 GiB
    assert risk.time_to_failure.p10 < days_left * 86_400 < risk.time_to_failure.p90
    assert not risk.drivers[0].hypothesis and "GiB a day" in risk.drivers[0].text
    fill_archive(url, 74)
    (third,) = refresh(settings)
    assert third.risks == []  # nothing new to tell
    assert [r.risk_id for r in risks_on(settings.kafka_bootstrap, 1)] == [risk.risk_id]
    with psycopg.connect(url) as db:
        disk, other = capacity_view(db, "shop/db")
        assert disk.forecast.signal == DISK and disk.episode == risk.episode
        assert other.forecast.probability < 0.1 and other.median_at is None
        desk = desk_of(db)
        desk.take_risk(risk)
        failed = risk.predicted_at + timedelta(days=days_left)
        desk.take_observation(FailureObserved("shop/db", DISK, "disk_full", failed, 100 * GIB, 100 * GIB))
        (row,) = db.execute("select outcome, inside_80 from outcomes").fetchall()
        assert row == ("hit", True)


def test_no_second_risk_where_the_minute_path_told_one(settings: Settings) -> None:
    url = settings.postgres_url.get_secret_value()
    fill_archive(url, 72)
    refresh(settings)
    fill_archive(url, 73)
    with psycopg.connect(url) as db:
        soon = START + timedelta(hours=73)
        minute = Risk(
            "0b0f2a3e-0d4d-4c44-9a58-0d6f5f0b7d11", 0, "open", "shop/db", DISK, "disk_full", soon, 21_600.0, 0.9,
            TimeToFailure(3600.0, 7200.0, 10_800.0, 0.1), 95 * GIB, 100 * GIB, "By", [], [], [], Forecast(),
            "first-day-4",
        )  # fmt: skip
        PostgresLedger(db).add_risk(minute)
    (made,) = refresh(settings)
    assert made.risks == []


def test_the_predictor_does_not_go_on_with_a_capacity_risk(settings: Settings) -> None:
    fill_archive(settings.postgres_url.get_secret_value(), 72)
    refresh(settings)
    fill_archive(settings.postgres_url.get_secret_value(), 73)
    ((risk,),) = [made.risks for made in refresh(settings)]
    told = Told()
    told.see(topics.RISKS, encode(risk))
    told.see(topics.OBSERVATIONS, encode(Watermark("shop", risk.predicted_at, [0])))
    past = told.past("shop", 0)
    assert past is not None and past.risks == {} and past.predicted == {}


def test_dagster_and_the_command_show_the_same(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill_archive(settings.postgres_url.get_secret_value(), 72)
    monkeypatch.setenv("FOREWARN_POSTGRES_URL", settings.postgres_url.get_secret_value())
    monkeypatch.setenv("FOREWARN_KAFKA_BOOTSTRAP", settings.kafka_bootstrap)
    monkeypatch.setenv("FOREWARN_HOME", str(tmp_path))
    import dagster as dg

    from monitor_assets.scope import TrainingScope
    from monitor_assets.training.capacity_forecasts import capacity_forecasts

    made = dg.materialize([capacity_forecasts], resources={"scope": TrainingScope()})
    (event,) = made.asset_materializations_for_node("capacity_forecasts")
    assert event.metadata["forecasts"].value == 2
    assert "shop/db" in event.metadata["full within 7 d"].md_str
    shown = CliRunner().invoke(app, ["capacity", "--home", str(tmp_path)])
    assert shown.exit_code == 0 and "shop/db" in shown.output and "/var" not in shown.output
    told = json.loads(CliRunner().invoke(app, ["capacity", "--json", "--home", str(tmp_path)]).output)
    assert (told[0]["signal"], len(told)) == (DISK, 2)
    assert len(told[0]["fan"]["p50"]) == len(told[0]["fan"]["future_seconds"])
