"""What `judge_shadow` needs to know: predictions of champion and shadow with what came of them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import class_row

from forewarn.evaluation.ledger import Prediction
from forewarn.evaluation.lifecycle.pairing import Incidents, PairedRow, pairs_of, told_of
from forewarn.evaluation.lifecycle.shadow import Pairs, Told
from forewarn.risk.records import FailureObserved
from forewarn.stores import shadow_predictions

# Both outcomes of a row are known only when its horizon has passed: to take failures earlier would favour whoever
# predicts them. Rows while their signal fails, and those that somebody acted upon, say nothing about a model.
_PAIRS = """
select s.entity, s.signal, s.mode, s.predicted_at, s.horizon_seconds, s.probability as shadow,
       c.probability as champion, f.failed_at
from shadow_predictions s
join shadow_predictions c using (entity, signal, predicted_at, state)
join watermarks w on w.namespace = case when strpos(s.entity, '/') > 0 then split_part(s.entity, '/', 1) else '' end
left join lateral (
    select failed_at from failures f where f.entity = s.entity and f.signal = s.signal
    and f.failed_at > s.predicted_at and f.failed_at <= s.predicted_at + s.horizon_seconds * interval '1 second'
    order by failed_at limit 1) f on true
where s.model_version = %(shadow)s and c.model_version = %(champion)s and s.state = 'sample'
  and abs(hashtext(s.entity || s.signal || s.predicted_at)::bigint) %% %(one_of)s = 0
  and s.predicted_at + s.horizon_seconds * interval '1 second' < w.at
  and not exists (select from failures g where g.entity = s.entity and g.signal = s.signal
                  and g.failed_at <= s.predicted_at and coalesce(g.recovered_at, 'infinity') > s.predicted_at)
  and (f.failed_at is not null or not exists (
      select from outcomes o join risks r using (risk_id)
      where o.outcome = 'averted' and r.entity = s.entity and r.signal = s.signal and r.expires_at >= s.predicted_at
      and r.predicted_at <= s.predicted_at + s.horizon_seconds * interval '1 second'))
order by s.entity, s.signal, s.predicted_at
"""
_SAMPLES = "select count(*) from shadow_predictions where model_version = %s and state = 'sample'"
_FAILURES = """
select entity, signal, mode, failed_at, value, limit_value from failures
where failed_at >= (select min(predicted_at) from shadow_predictions where model_version = %s)
order by failed_at
"""
_PROGRESS = """
select (select count(*) from failures), (select coalesce(floor(sum(extract(epoch from at)) / %s), 0) from watermarks),
       exists (select from shadow_predictions where model_version = %s)
"""


MOST_ROWS = 200_000  # more are thinned evenly: a comparison takes seconds however many signals there are


@dataclass(frozen=True, slots=True)
class ShadowEvidence:
    """All that was seen of a champion and its shadow beside each other."""

    champion: str
    shadow: str
    pairs: Pairs
    told_by_champion: Told
    told_by_shadow: Told


def shadow_evidence(
    connection: psycopg.Connection[Any],
    champion: str,
    shadow: str,
    incident_window: timedelta,
    min_lead_seconds: float,
    most_rows: int = MOST_ROWS,
) -> ShadowEvidence:
    """Rows that both scored and whose outcome is known, and what became of what each told."""
    counted = connection.execute(_SAMPLES, (shadow,)).fetchone()
    one_of = 1 + (int(counted[0]) - 1) // most_rows if counted and counted[0] else 1
    with connection.cursor(row_factory=class_row(PairedRow)) as cursor:
        asked = {"shadow": shadow, "champion": champion, "one_of": one_of}
        rows = cursor.execute(_PAIRS, asked).fetchall()
    failures = [FailureObserved(*row) for row in connection.execute(_FAILURES, (shadow,))]
    incidents = Incidents([(f.entity, f.at) for f in failures], incident_window)
    clocks: dict[str, datetime] = dict(connection.execute("select namespace, at from watermarks").fetchall())

    def told(version: str) -> Told:
        predictions = [_prediction(p) for p in shadow_predictions.told(connection, version)]
        return told_of(predictions, failures, clocks, incidents, min_lead_seconds)

    return ShadowEvidence(champion, shadow, pairs_of(rows, incidents), told(champion), told(shadow))


def progress(connection: psycopg.Connection[Any], shadow: str, every_seconds: float) -> str:
    """Changes when there may be something new to judge: a failure, or so much more event time."""
    row = connection.execute(_PROGRESS, (every_seconds, shadow)).fetchone()
    return "/".join(str(value) for value in row) if row else ""


def _prediction(p: shadow_predictions.ShadowPrediction) -> Prediction:
    expires = p.predicted_at + timedelta(seconds=p.horizon_seconds)
    episode = p.episode or ""
    return Prediction(
        f"{episode}/{p.revision}", episode, p.revision, p.state, p.entity, p.signal, p.mode, p.predicted_at, expires,
        p.probability, p.p10_seconds, p.p50_seconds, p.p90_seconds,
    )  # fmt: skip
