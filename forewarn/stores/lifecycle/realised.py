"""How the predictions of a model ended, as the ledger has them."""

from datetime import datetime
from typing import Any

import psycopg

from forewarn.evaluation.lifecycle.evidence import Realised

_ENDED = """
select r.episode, o.outcome, o.inside_80, o.failed_at is not null and exists (
    select from risks w where w.episode = r.episode and w.state = 'withdrawn' and w.predicted_at <= o.failed_at)
    as taken_back
from risks r join outcomes o using (risk_id)
where r.state = 'open' and r.model_version = %(version)s
  and (%(since)s::timestamptz is null or r.predicted_at > %(since)s)
  and (%(namespace)s::text is null or split_part(r.entity, '/', 1) = %(namespace)s)
"""
# A failure belongs to whoever was champion when the ledger took it down, from the first thing on that this one told in
# that time: what fails while a restored champion has yet to look is not its miss. The registry alone knows of a
# championship that began longer ago than the audit log is kept.
_CHAMPIONSHIPS = """
select began, ended, (select min(predicted_at) from risks where model_version = %(version)s
                      and recorded_at >= began and recorded_at < ended) as first_told
from (select at as began, coalesce(lead(at) over (order by audit_id), 'infinity') as ended,
             action in ('promote', 'restore') as serves
      from audit where subject = %(version)s and action in ('promote', 'restore', 'retire', 'roll back')
      union all
      select promoted_at, 'infinity', true from model_versions where version = %(version)s and stage = 'champion') turns
where serves
"""
_REALISED = f"""
select count(*) filter (where outcome in ('hit', 'late') and not taken_back)::int,
       count(*) filter (where outcome in ('expired', 'dismissed') or taken_back)::int,
       (select count(distinct f.episode) from failures f join ({_CHAMPIONSHIPS}) c
          on f.recorded_at >= c.began and f.recorded_at < c.ended
          where not f.predicted and f.failed_at > greatest(%(since)s::timestamptz, c.first_told)
          and (%(namespace)s::text is null or split_part(f.entity, '/', 1) = %(namespace)s))::int,
       count(*) filter (where inside_80)::int, count(*) filter (where inside_80 is not null)::int
from ({_ENDED}) ended
"""  # noqa: S608


def realised(
    connection: psycopg.Connection[Any], version: str, since: datetime | None, namespace: str | None
) -> Realised:
    """Episodes that a model opened after `since` (event time of the namespace), and failures without any.

    Failures count while the model was champion, from its first prediction of that time on: it did not miss the others.
    """
    row = connection.execute(
        _REALISED.encode(), {"version": version, "since": since, "namespace": namespace}
    ).fetchone()
    return Realised(*row) if row else Realised()
