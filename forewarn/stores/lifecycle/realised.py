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
_REALISED = f"""
select count(*) filter (where outcome in ('hit', 'late') and not taken_back)::int,
       count(*) filter (where outcome in ('expired', 'dismissed') or taken_back)::int,
       (select count(distinct f.episode) from failures f where not f.predicted
          and f.failed_at > greatest(%(since)s::timestamptz, (select min(predicted_at) from risks
                                                              where model_version = %(version)s))
          and (%(namespace)s::text is null or split_part(f.entity, '/', 1) = %(namespace)s))::int,
       count(*) filter (where inside_80)::int, count(*) filter (where inside_80 is not null)::int
from ({_ENDED}) ended
"""  # noqa: S608


def realised(
    connection: psycopg.Connection[Any], version: str, since: datetime | None, namespace: str | None
) -> Realised:
    """Episodes that a model opened after `since` (event time of the namespace), and failures without any.

    Failures count from the model's own first prediction on at the earliest: before, it was not it that missed them.
    """
    row = connection.execute(
        _REALISED.encode(), {"version": version, "since": since, "namespace": namespace}
    ).fetchone()
    return Realised(*row) if row else Realised()
