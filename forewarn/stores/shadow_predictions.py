"""What champion and shadow said of the same rows: written by the predictor while there is a shadow, read to compare.

Contract with the predictor. While `model_versions.served` names a shadow, every scoring of a namespace writes for
both models, champion and shadow, in one transaction:

- a 'sample' of every limited series with a value, at each cell whose number since the epoch (event time / step) is
  a multiple of SAMPLE_STEPS: the same rows for both, so that they can be paired;
- what each would tell: 'open', 'update' and 'withdrawn' of its own episodes (`forewarn.risk.episodes.step`), the
  champion's as they left and the shadow's as they would have.

Writing the same row again changes nothing, so a restart that scores again does no harm.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import class_row

SAMPLE_STEPS = 15
SAMPLE = "sample"


@dataclass(frozen=True, slots=True)
class ShadowPrediction:
    """One model's word about one signal. Times are event times, quantiles seconds from `predicted_at`."""

    model_version: str
    role: str  # 'champion' or 'shadow'
    state: str  # 'sample', 'open', 'update' or 'withdrawn'
    entity: str
    signal: str  # Series.name
    mode: str
    predicted_at: datetime
    horizon_seconds: float
    probability: float
    threshold: float
    p10_seconds: float | None = None
    p50_seconds: float | None = None
    p90_seconds: float | None = None
    episode: str | None = None
    revision: int = 0


_COLUMNS = """model_version, role, state, entity, signal, mode, predicted_at, horizon_seconds, probability, threshold,
p10_seconds, p50_seconds, p90_seconds, episode, revision"""
_WRITE = f"""
insert into shadow_predictions ({_COLUMNS}) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict do nothing
"""  # noqa: S608


def write(connection: psycopg.Connection[Any], predictions: Iterable[ShadowPrediction]) -> None:
    """Store predictions; those that are there already stay as they are. Raises psycopg.Error."""
    with connection.cursor() as cursor:
        cursor.executemany(_WRITE, [astuple(p) for p in predictions])


def prune(connection: psycopg.Connection[Any], keep: timedelta) -> int:
    """Delete what was recorded longer ago, of shadows that are long over; how many rows that were."""
    return connection.execute("delete from shadow_predictions where recorded_at < now() - %s", (keep,)).rowcount


def told(connection: psycopg.Connection[Any], model_version: str) -> Sequence[ShadowPrediction]:
    """What a model told, or would have, in order of time."""
    columns = _COLUMNS.replace("episode", "episode::text")
    query = f"""select {columns} from shadow_predictions where model_version = %s and state <> 'sample'
    order by predicted_at, episode, revision"""  # noqa: S608
    with connection.cursor(row_factory=class_row(ShadowPrediction)) as cursor:
        return cursor.execute(query.encode(), (model_version,)).fetchall()
