"""How a sensor reaches PostgreSQL, and what its tick says when it cannot."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import dagster as dg
import psycopg

from forewarn.config.settings import Settings
from forewarn.stores.model_versions import TransitionError

ACTOR = "dagster sensor"
_kept: dict[str, Any] = {}  # the instance of the last tick and what it was made from
Tick = dg.SensorResult | dg.RunRequest | dg.SkipReason


@contextmanager
def connected(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A connection, or psycopg.OperationalError within seconds."""
    url = settings.postgres_url.get_secret_value()
    with psycopg.connect(url, connect_timeout=5, autocommit=True) as connection:
        yield connection


def instance_of(context: dg.SensorEvaluationContext) -> dg.DagsterInstance:
    """Dagster's instance, made once for the process.

    `context.instance` makes one a tick, and SQLAlchemy's PostgreSQL dialect holds the last 128 of them (its
    `lru_cache`s keep the dialect): 30 MiB an hour for a sensor that ticks once a minute.
    """
    reference = context.instance_ref
    if reference is None:
        return context.instance
    if _kept.get("reference") != reference:
        _kept.update(reference=reference, instance=dg.DagsterInstance.from_ref(reference))
    return _kept["instance"]


def told_in_the_tick(evaluate: Callable[[dg.SensorEvaluationContext], Tick]) -> Callable[..., Tick]:
    """A registry that cannot be read, or that changed while it was judged, ends the tick with the reason."""

    @wraps(evaluate)
    def guarded(context: dg.SensorEvaluationContext) -> Tick:
        try:
            return evaluate(context)
        except psycopg.OperationalError as error:
            return dg.SkipReason(f"PostgreSQL cannot be asked: {str(error).strip()}")
        except TransitionError as error:
            return dg.SkipReason(f"not carried out: {error}")

    return guarded
