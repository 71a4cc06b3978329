"""The statements of `why_not`."""

KNOWN = """
select distinct entity from (select entity from metric_series union all select entity from abstentions
union all select distinct entity from risks union all select entity from log_templates
union all select client from service_edges union all select server from service_edges) e
"""
LAST_SAMPLE = """
select max(last.time) from metric_series s, lateral (
    select time from metric_samples m where m.series_id = s.series_id and m.time <= %(at)s
    order by time desc limit 1) last
where s.entity = %(entity)s
"""
ABSTENTIONS = """
select signal, reason, time from (
    select distinct on (signal) signal, reason, time from abstention_history
    where entity = %(entity)s and time <= %(at)s order by signal, time desc) newest
where reason <> ''
union all
select signal, reason, at from abstentions a where entity = %(entity)s and reason <> '' and at <= %(at)s
and not exists (select from abstention_history h where h.entity = a.entity and h.signal = a.signal)
order by 3 desc
"""
RISKS = """
select distinct on (r.episode) r.signal, r.mode, r.state, r.predicted_at, r.expires_at, r.probability, o.outcome,
       o.resolved_at
from risks r left join outcomes o using (risk_id)
where r.entity = %(entity)s and r.predicted_at <= %(at)s and r.predicted_at > %(since)s
order by r.episode, r.revision desc
"""
BELOW = """
select distinct on (signal) signal, mode, predicted_at, horizon_seconds, probability, threshold from shadow_predictions
where entity = %(entity)s and role = 'champion' and state = 'sample' and predicted_at <= %(at)s
and predicted_at > %(since)s order by signal, predicted_at desc
"""
FAILURES = """
select signal, mode, failed_at, recovered_at, predicted from failures
where entity = %(entity)s and failed_at <= %(at)s and coalesce(recovered_at, %(at)s) > %(since)s order by failed_at desc
"""
INCIDENTS = """
select incident_id::text, title, state, severity, updated_at from incidents i where opened_at <= %(at)s and
(updated_at > %(since)s or state in ('predicted', 'firing')) and (entity = %(entity)s or exists (
    select from incident_episodes e
    where e.incident_id = i.incident_id and exists (
        select from risks r where r.episode = e.episode and r.entity = %(entity)s
        union all select from failures f where f.episode = e.episode and f.entity = %(entity)s)))
order by updated_at desc limit 10
"""
DECISIONS = """
select at, actor, action, reason from audit where at <= %(now)s and subject = any(%(subjects)s)
order by audit_id desc limit 20
"""
EPISODES = """
select episode::text from risks where entity = %(entity)s and predicted_at > %(since)s
union select episode::text from failures where entity = %(entity)s and failed_at > %(since)s and episode is not null
limit 200
"""
HELD = """
select channel, reason, held_for, why, next_attempt from outbox
where incident_id = any(%s::uuid[]) and status = 'held' order by channel
"""
RESPONSES = """
select response, status, held_for, held_why, outcome, decided_by, proposed_at, expires_at from responses
where (incident_id = any(%(ids)s::uuid[]) or entity = %(entity)s)
and proposed_at <= %(now)s and proposed_at > %(now)s - interval '1 day' order by proposed_at desc limit 20
"""
SENT = """
select channel, reason, sent_at from outbox where incident_id = any(%s::uuid[]) and status = 'sent' and sent_at <= %s
order by sent_at desc limit 20
"""
FAILED = """
select channel, reason, last_error from outbox
where incident_id = any(%s::uuid[]) and (status = 'failed' or (status = 'pending' and last_error is not null))
"""
CONTROL = "select at, raised, reason from alarm_control where at <= %s order by control_id desc limit 1"
