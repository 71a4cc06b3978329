"""Makes capacity forecasts of everything in the archive, stores them and tells risks: one pass, for whoever calls it.

Dagster calls it every hour (`monitor_assets/training/capacity_forecasts.py`), `forewarn capacity --refresh` without
Dagster. It may be called as often as one likes: an hour that was counted is not counted again, and a risk that is told
twice has the same `risk_id`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import psycopg
import structlog

from forewarn.config.settings import Settings
from forewarn.forecasting.capacity.contest import Standing
from forewarn.forecasting.capacity.model import packaged
from forewarn.risk.capacity import CapacityForecast, Others, forecast_capacities
from forewarn.risk.capacity_telling import Telling, tell
from forewarn.risk.past import Key
from forewarn.risk.records import Risk, encode
from forewarn.stores.capacity import endings, namespaces, read_histories, read_tellings, told_elsewhere, write_forecasts
from forewarn.stores.locks import Lock
from forewarn.stores.log import producer
from forewarn.telemetry import topics

logger = structlog.get_logger(__name__)

_FLUSH_SECONDS = 30.0


class NotToldError(RuntimeError):
    """The broker did not take the risks; nothing was stored, the next pass makes them again."""


@dataclass(slots=True)
class Pass:
    """What one pass over a namespace did. made_at: None where there are no roll-ups of limited signals yet."""

    namespace: str
    made_at: datetime | None
    forecasts: list[CapacityForecast] = field(default_factory=list)
    silent: dict[str, int] = field(default_factory=dict)
    standings: list[Standing] = field(default_factory=list)
    risks: list[Risk] = field(default_factory=list)


def refresh(settings: Settings, others: Others | None = None, only: str | None = None) -> list[Pass]:
    """Forecast every namespace (or one), store, and tell what is to be told.

    others: see forecast_capacities. Two callers wait for each
    other. Raises psycopg.Error, NotToldError.
    """
    with psycopg.connect(settings.postgres_url.get_secret_value()) as connection:
        names = [only] if only is not None else namespaces(connection)
        connection.commit()
        return [_refresh(connection, settings, name, others) for name in names]


def _refresh(connection: psycopg.Connection, settings: Settings, namespace: str, others: Others | None) -> Pass:
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", (Lock.FORECAST_CAPACITY.value,))
        histories, made_at = read_histories(connection, namespace)
        if made_at is None:
            return Pass(namespace, None)
        made = forecast_capacities(histories, made_at, packaged(), others)
        tellings, risks = _tell(connection, namespace, made_at, made.forecasts)
        _send(settings, risks)
        write_forecasts(connection, namespace, made_at, made.forecasts, tellings)
    logger.info("capacity forecasts", namespace=namespace, signals=len(made.forecasts), told=len(risks))
    return Pass(namespace, made_at, made.forecasts, made.silent, made.standings, risks)


def _tell(
    connection: psycopg.Connection, namespace: str, made_at: datetime, forecasts: Sequence[CapacityForecast]
) -> tuple[dict[Key, Telling], list[Risk]]:
    before = read_tellings(connection, namespace)
    elsewhere = told_elsewhere(connection, namespace, made_at)
    ended = endings(connection, [telling.identity for telling in before.values() if telling.identity])
    tellings, risks = {}, []
    for one in forecasts:
        key = one.entity, one.signal
        last = before.get(key, Telling())
        tellings[key], risk = tell(one, last, key in elsewhere, ended.get(last.identity, ""))
        if risk is not None:
            risks.append(risk)
    return tellings, risks


def _send(settings: Settings, risks: Sequence[Risk]) -> None:
    """Put the risks on the topic; what was told counts only once the broker has it."""
    if not risks:
        return
    sender = producer(settings.kafka_bootstrap)
    refused: list[str] = []
    for risk in risks:
        sender.produce(
            topics.RISKS, key=risk.entity.encode(), value=encode(risk),
            on_delivery=lambda error, _: refused.append(str(error)) if error is not None else None,
        )  # fmt: skip
    left = sender.flush(_FLUSH_SECONDS)
    if left or refused:
        raise NotToldError(
            f"the broker at {settings.kafka_bootstrap} took {len(risks) - left - len(refused)} of {len(risks)} risks "
            "from capacity forecasts: nothing was stored, they are made again with the next pass"
        )
