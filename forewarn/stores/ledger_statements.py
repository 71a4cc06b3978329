"""SQL of the ledger."""

from psycopg import sql

COLUMNS = sql.SQL("""r.risk_id::text, r.episode::text, r.revision, r.state, r.entity, r.signal, r.mode, r.predicted_at,
    r.expires_at, r.probability, r.p10_seconds as p10, r.p50_seconds as p50, r.p90_seconds as p90""")
IN_NAMESPACE = sql.SQL("""(%(namespace)s::text is null
    or case when strpos(r.entity, '/') > 0 then split_part(r.entity, '/', 1) else '' end = %(namespace)s)""")

ADD_RISK = """
insert into risks (risk_id, episode, revision, state, entity, signal, mode, predicted_at, expires_at, probability,
                   p10_seconds, p50_seconds, p90_seconds, model_version, payload)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing
"""
RESOLVE = """
insert into outcomes (risk_id, episode, outcome, resolved_at, failed_at, lead_seconds, error_seconds, inside_80)
values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing
"""
ABOUT = sql.SQL("""
select {columns} from risks r
where r.entity = %(entity)s and r.signal = %(signal)s and r.episode in (
    select episode from risks where entity = %(entity)s and signal = %(signal)s
    and predicted_at <= %(at)s and expires_at >= %(at)s)
order by r.predicted_at, r.revision
""").format(columns=COLUMNS, in_namespace=IN_NAMESPACE)
UNRESOLVED = sql.SQL("""
select {columns} from risks r
where r.episode = any(%s::uuid[]) and not exists (select from outcomes o where o.risk_id = r.risk_id)
""").format(columns=COLUMNS, in_namespace=IN_NAMESPACE)
OVERDUE = sql.SQL("""
select {columns} from risks r
where r.expires_at < %(until)s and (%(since)s::timestamptz is null or r.expires_at >= %(since)s) and {in_namespace}
and not exists (select from outcomes o where o.risk_id = r.risk_id)
order by r.expires_at, r.risk_id
""").format(columns=COLUMNS, in_namespace=IN_NAMESPACE)
ADD_FAILURE = """
insert into failures (entity, signal, mode, failed_at, value, limit_value, predicted, episode)
values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing
"""
RELAPSE = """
select episode::text, predicted from failures
where entity = %s and signal = %s and failed_at <= %s and coalesce(recovered_at, 'infinity') >= %s
order by failed_at desc limit 1
"""
RECOVER = """
update failures set recovered_at = %s
where entity = %s and signal = %s and recovered_at is null and failed_at <= %s
returning entity, signal, failed_at, episode
"""
EPISODES_OF_FAILURE = """
select %(episode)s::uuid::text as episode where %(episode)s::uuid is not null
union select o.episode::text from outcomes o join risks r using (risk_id)
where r.entity = %(entity)s and r.signal = %(signal)s and o.failed_at = %(failed_at)s
"""
WATERMARK = """
insert into watermarks (namespace, at) values (%s, %s)
on conflict (namespace) do update set at = greatest(watermarks.at, excluded.at)
"""
# The code counts: the words hold numbers that change all the time.
ABSTENTION_BEGINS_OR_ENDS = """
insert into abstention_history (entity, signal, time, code, reason)
select %(entity)s, %(signal)s, %(at)s, %(code)s, %(reason)s
where not exists (select from abstentions a where a.entity = %(entity)s and a.signal = %(signal)s
                  and (a.at > %(at)s or (a.code = %(code)s and (a.reason = '') = (%(reason)s = ''))))
and (%(reason)s <> '' or exists (select from abstentions a where a.entity = %(entity)s and a.signal = %(signal)s))
on conflict do nothing
"""
ABSTAIN = """
insert into abstentions (entity, signal, reason, at, code) values (%s, %s, %s, %s, %s)
on conflict (entity, signal) do update set reason = excluded.reason, at = excluded.at, code = excluded.code
where abstentions.at <= excluded.at
"""
ANOMALY = """
insert into anomalies (entity, since, p_value, text, drivers) values (%s, %s, %s, %s, %s::jsonb)
on conflict (entity, since) do nothing
"""
ANOMALY_ENDED = "update anomalies set ended_at = %s where entity = %s and since = %s and ended_at is null"
EPISODES = """
select e.episode::text, first.payload::text as first, last.payload::text as last, said.outcome as feedback,
       latest.outcome as latest_outcome, failed.*, kind.unit
from unnest(%s::uuid[]) with ordinality as e (episode, place)
left join lateral (select payload from risks r where r.episode = e.episode order by revision limit 1) first on true
left join lateral (select payload, risk_id, entity, signal from risks r where r.episode = e.episode
                   order by revision desc limit 1) last on true
left join outcomes latest on latest.risk_id = last.risk_id
left join lateral (select outcome from outcomes o where o.episode = e.episode and outcome in ('averted', 'dismissed')
                   order by resolved_at limit 1) said on true
left join lateral (
    select f.entity, f.signal, f.mode, f.predicted, f.value, f.limit_value, f.failed_at,
           bool_or(recovered_at is null) over whole as firing, max(recovered_at) over whole as recovered_at
    from failures f
    where f.episode = e.episode or (f.entity = last.entity and f.signal = last.signal and f.failed_at in (
        select o.failed_at from outcomes o where o.episode = e.episode))
    window whole as (order by failed_at rows between unbounded preceding and unbounded following)
    order by f.failed_at limit 1) failed on true
left join metric_series kind on kind.entity = failed.entity and kind.name = failed.signal
order by e.place
"""
OUTCOMES_SINCE = sql.SQL("""
select {columns}, o.outcome, o.resolved_at, o.failed_at, o.lead_seconds, o.error_seconds, o.inside_80
from outcomes o join risks r using (risk_id)
where r.state = 'open' and o.resolved_at >= %(at)s and {in_namespace}
order by o.resolved_at, r.predicted_at
""").format(columns=COLUMNS, in_namespace=IN_NAMESPACE)
MISSES_SINCE = sql.SQL("""
select r.entity, r.signal, r.mode, r.failed_at as at, r.value, r.limit_value as limit from failures r
where not r.predicted and r.failed_at >= %(at)s and {in_namespace} order by r.failed_at
""").format(columns=COLUMNS, in_namespace=IN_NAMESPACE)
RESULTS = sql.SQL("""
select r.episode::text, o.outcome, o.failed_at is not null and exists (
    select from risks w where w.episode = r.episode and w.state = 'withdrawn' and w.predicted_at <= o.failed_at)
    as withdrawn_before_failure
from risks r join outcomes o using (risk_id)
where r.state = 'open' and (%(mode)s::text is null or r.mode = %(mode)s) and {in_namespace}
""").format(columns=COLUMNS, in_namespace=IN_NAMESPACE)
MISSED = sql.SQL("""
select count(distinct r.episode) from failures r
where not r.predicted and (%(mode)s::text is null or r.mode = %(mode)s) and {in_namespace}
""").format(columns=COLUMNS, in_namespace=IN_NAMESPACE)
FAILURE_TIMES = """
select failed_at from failures where entity = %s and signal = %s and failed_at between %s and %s order by 1
"""
