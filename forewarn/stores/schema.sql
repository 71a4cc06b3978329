-- Tables of Forewarn, as a fresh database gets them. Times are event times unless a column says otherwise.
-- What changes here changes in a revision of forewarn/stores/migrations, too (docs/upgrading.md): a test compares them.

create table schema_revision (               -- of forewarn/stores/migrations; read at every start
    version_num varchar(32) not null constraint schema_revision_pkc primary key
);

create table metric_series (
    series_id   bigint generated always as identity primary key,
    entity      text not null,
    name        text not null,              -- Series.name: signal{key=value}
    signal      text not null,
    attributes  jsonb not null default '{}',
    kind        text not null,              -- gauge, cumulative, delta
    unit        text not null default '',
    seen_on     date not null default current_date, -- wall clock: the last day on which a writer asked for it
    unique (entity, name)
);

create table metric_samples (  -- a hypertable where TimescaleDB is, else one partition a day
    series_id   bigint not null,
    time        timestamptz not null,
    value       double precision not null
) partition by range (time);
create index metric_samples_series_time on metric_samples (series_id, time);

create index metric_samples_time on metric_samples
    using brin (time) with (pages_per_range = 32, autosummarize = on);

create table rollup_pending (  -- 5-minute cells that got samples since they were rolled up
    cell        timestamptz not null,
    recorded_at timestamptz not null default clock_timestamp()
);

create table metric_rollups_5m (
    series_id bigint not null,
    time      timestamptz not null,          -- start of the cell
    min       double precision not null,
    max       double precision not null,
    mean      double precision not null,
    count     bigint not null,
    last      double precision not null,
    primary key (series_id, time)
);
create index metric_rollups_5m_time on metric_rollups_5m (time);

create table metric_rollups_1h (
    series_id bigint not null,
    time      timestamptz not null,
    min       double precision not null,
    max       double precision not null,
    mean      double precision not null,
    count     bigint not null,
    last      double precision not null,
    primary key (series_id, time)
);
create index metric_rollups_1h_time on metric_rollups_1h (time);

create table imported_spans (  -- stored with what was imported, in one transaction
    source      text not null,               -- address without user and password, or file
    selector    text not null,
    namespace   text not null,
    step_ms     bigint not null,             -- 0: raw samples
    start_at    timestamptz not null,
    stop_at     timestamptz not null,        -- exclusive
    samples     bigint not null,
    recorded_at timestamptz not null default now(),
    primary key (source, selector, namespace, step_ms, start_at)
);

create table log_records (
    time        timestamptz not null,
    entity      text not null,
    severity    text not null,
    body        text not null,
    attributes  jsonb not null default '{}'
);
create index log_records_entity_time on log_records (entity, time);
create index log_records_time on log_records using brin (time);
create index log_records_deployments on log_records (time) where attributes->>'event.name' = 'deployment';

create table spans (
    time             timestamptz not null,   -- start
    trace_id         bytea not null,
    span_id          bytea not null,
    parent_span_id   bytea,
    entity           text not null,
    operation        text not null,
    duration_seconds double precision not null,
    error            boolean not null
);
create index spans_entity_time on spans (entity, time);
create index spans_time on spans using brin (time);

create table service_edges (   -- who calls whom
    client     text not null,
    server     text not null,
    calls      bigint not null default 0,
    errors     bigint not null default 0,
    last_seen  timestamptz not null,
    primary key (client, server)
);

create table activity_events (
    time     timestamptz not null,
    service  text not null,
    action   text not null,
    user_hash text,
    count    integer not null default 1
);
create index activity_events_time on activity_events using brin (time);

create table consumer_offsets ( -- stored with what was consumed, in one transaction
    consumer_group text not null,
    topic          text not null,
    partition      integer not null,
    next_offset    bigint not null,
    primary key (consumer_group, topic, partition)
);

create table connector_states ( -- what the connector has counted; stored with its offsets
    topic     text not null,
    partition integer not null,
    entity    text not null,                -- '' for the clocks of the partition
    state     bytea not null,
    primary key (topic, partition, entity)
);

create table log_templates (   -- what the lines of an entity look like
    entity      text not null,
    template_id text not null,              -- attribute log.template.id of log.template.rate
    template    text not null,              -- from outside, like the example: escape it
    severity    text not null,
    example     text not null,              -- the first line, cut
    first_seen  timestamptz not null,
    last_seen   timestamptz not null,
    count       bigint not null,
    errors      bigint not null,
    primary key (entity, template_id)
);
create index log_templates_first_seen on log_templates (first_seen);

create table risks (           -- the ledger: append only
    risk_id       uuid primary key,
    episode       uuid not null,
    revision      integer not null,
    state         text not null,
    entity        text not null,
    signal        text not null,
    mode          text not null,
    predicted_at  timestamptz not null,
    expires_at    timestamptz not null,
    probability   double precision not null,
    p10_seconds   double precision,
    p50_seconds   double precision,
    p90_seconds   double precision,
    model_version text not null,
    payload       jsonb not null,            -- the whole Risk
    recorded_at   timestamptz not null default now()
);
create index risks_episode on risks (episode, revision);
create index risks_entity on risks (entity, predicted_at);
create index risks_expiry on risks (expires_at);
create index risks_opened on risks (mode, entity) where state = 'open';

create table failures (        -- what really happened, seen in the telemetry
    entity       text not null,
    signal       text not null,
    mode         text not null,
    failed_at    timestamptz not null,
    recovered_at timestamptz,
    value        double precision not null,
    limit_value  double precision not null,
    predicted    boolean not null,           -- false: a miss
    episode      uuid,                       -- the one that spoke of it; one of its own for a miss
    recorded_at  timestamptz not null default now(),
    primary key (entity, signal, failed_at)
);
create index failures_episode on failures (episode);

create table outcomes (        -- one for each prediction, once its horizon has passed or it failed
    risk_id       uuid primary key references risks,
    episode       uuid not null,
    outcome       text not null,             -- hit, late, averted, expired, dismissed
    resolved_at   timestamptz not null,
    failed_at     timestamptz,
    lead_seconds  double precision,          -- failed_at - predicted_at
    error_seconds double precision,          -- predicted median - lead
    inside_80     boolean                    -- was the failure inside the 80 % interval
);
create index outcomes_episode on outcomes (episode);

create table incidents (       -- the latest version of each
    incident_id uuid primary key,
    version     integer not null,
    state       text not null,
    severity    text not null,
    entity      text not null,
    mode        text not null,
    title       text not null,
    opened_at   timestamptz not null,
    updated_at  timestamptz not null,
    failed_at   timestamptz,
    payload     jsonb not null               -- the whole Incident
);
create index incidents_state on incidents (state, updated_at);

create table incident_history ( -- every version, append only
    incident_id uuid not null,
    version     integer not null,
    payload     jsonb not null,
    recorded_at timestamptz not null default now(),
    published   boolean not null default false, -- on topic `incidents`
    primary key (incident_id, version)
);
create index incident_history_unpublished on incident_history (recorded_at) where not published;

create table incident_causes ( -- where the telemetry around it points to, ranked; it is a hypothesis
    incident_id  uuid not null,
    about        text not null,              -- 'prediction' or 'failure'
    relation     text not null,              -- to the cause that the incident names: same, other, none
    sentence     text not null,              -- what it adds; '' where nothing
    suspects     jsonb not null,             -- entity, score, reasons, queries; most likely first
    window_start timestamptz not null,       -- what came until window_end was held against what came before
    window_end   timestamptz not null,
    seconds      double precision not null,  -- that it took
    looked_at    timestamptz not null default now(),  -- wall clock
    primary key (incident_id, about)
);

create table incident_episodes (
    episode     uuid primary key,
    incident_id uuid not null
);

create table outbox (          -- a message to a channel, sent once for each state
    message_id   uuid primary key,
    incident_id  uuid not null,
    version      integer not null,
    channel      text not null,
    reason       text not null,              -- 'opened', 'failed', 'resolved' …
    status       text not null default 'pending',  -- held, pending, sent, failed, dropped
    attempts     integer not null default 0,
    next_attempt timestamptz not null default now(),
    last_error   text,
    created_at   timestamptz not null default now(),
    sent_at      timestamptz,
    sequence     integer not null default 0, -- of what may be told again: 'repeated', 'updated'
    route        text not null default '',   -- of the alerting file
    group_key    text not null default '',   -- what is told together
    held_for     text,                       -- silence, inhibited, rate_limit …
    why          text not null default '',   -- the last decision, in words
    released_at  timestamptz,                -- decided: to be sent
    batch_id     uuid,                       -- sent as one message with others
    told         jsonb not null default '{}', -- what it says, to compare with later
    receipt      jsonb not null default '{}', -- by which the channel finds its thread
    attempt_started_at timestamptz           -- set while it is being sent
);
create index outbox_incident on outbox (incident_id);
create index outbox_waiting on outbox (channel, created_at) where status in ('pending', 'held');
create index outbox_released on outbox (channel, released_at);

create table feedback (        -- what engineers said
    feedback_id uuid primary key,
    incident_id uuid,
    episode     uuid,
    verdict     text not null,               -- confirmed, dismissed, averted
    note        text not null default '',
    author      text not null,
    given_at    timestamptz not null default now(),
    handled     boolean not null default false -- the alerter has drawn its consequences
);
create index feedback_unhandled on feedback (given_at) where not handled;

create table silences (
    silence_id uuid primary key,
    matcher    jsonb not null,               -- {"entity": "shop/api", "mode": "disk_full"}; a missing key matches all
    starts_at  timestamptz not null,
    ends_at    timestamptz not null,
    reason     text not null,
    author     text not null
);

create table maintenance_windows ( -- beside those of the alerting file; see forewarn.alerting.calendars
    window_id  uuid primary key,
    name       text not null,
    matcher    jsonb not null,
    timezone   text not null,
    starts     text not null,                -- local wall time of the first, without offset
    until      text,                         -- local time of day, or
    duration_seconds double precision,
    rrule      text not null default '',
    comment    text not null default '',
    author     text not null,
    created_at timestamptz not null default now(),
    ended_at   timestamptz                   -- called off
);

create table abstentions ( -- the latest of each signal: why nothing is said; '' = it knows again
    entity text not null,
    signal text not null,
    reason text not null,
    at     timestamptz not null,
    code   text not null default '',         -- 'no_data', 'regime_change' …
    primary key (entity, signal)
);

create table anomalies (       -- an entity behaves as its own past did not foretell; nobody is paged
    entity   text not null,
    since    timestamptz not null,
    ended_at timestamptz,                    -- null while it lasts
    p_value  double precision not null,
    text     text not null,
    drivers  jsonb not null,                 -- as in topic `observations`
    primary key (entity, since)
);
create index anomalies_since on anomalies (since);

create table watermarks (      -- event clock of each namespace
    namespace text primary key,
    at        timestamptz not null
);

create table model_versions (  -- the registry's view of what serves
    version         text primary key,        -- tag in BentoML's model store
    stage           text not null,           -- candidate, shadow, champion, retired, withheld, broken
    feature_version text not null,
    trained_at      timestamptz not null,
    data_from       timestamptz not null,
    data_to         timestamptz not null,
    metrics         jsonb not null,          -- {"metric": {"value": …, "baselines": {…}}}
    reason          text not null,           -- why it has this stage
    changed_at      timestamptz not null default now(),
    revision        bigint not null default 0, -- of its last change of stage
    promoted_at     timestamptz,             -- when it last became champion
    trained_on      jsonb not null default '{}' -- namespace, signals, code
);
create unique index model_versions_champion on model_versions (stage) where stage = 'champion';
create unique index model_versions_shadow on model_versions (stage) where stage = 'shadow';
create sequence model_revisions;

create table shadow_predictions ( -- what champion and shadow said of the same rows, while there is a shadow
    model_version   text not null,
    role            text not null,           -- champion, shadow: at that time
    state           text not null,           -- 'sample', or 'open', 'update', 'withdrawn' of an episode of its own
    entity          text not null,
    signal          text not null,
    mode            text not null,
    predicted_at    timestamptz not null,    -- event time; a sample of one role has its partner at the same time
    horizon_seconds double precision not null,
    probability     double precision not null, -- of the failure within the horizon
    threshold       double precision not null, -- probability from which on this model tells a risk
    p10_seconds     double precision,
    p50_seconds     double precision,
    p90_seconds     double precision,
    episode         uuid,                    -- episode_of(…) of a told one; null for a sample
    revision        integer not null default 0,
    recorded_at     timestamptz not null default now(),
    primary key (model_version, entity, signal, predicted_at, state)
);
create index shadow_predictions_time on shadow_predictions using brin (recorded_at);

create table model_health (    -- how a model does, by predictor process and minute of wall clock
    model_version text not null,
    role          text not null,             -- champion, shadow
    instance      text not null,
    minute        timestamptz not null,
    batches       integer not null,          -- scorings of a namespace
    rows          bigint not null,
    abstained     bigint not null,           -- rows of which nothing is predicted
    alerts        bigint not null,           -- rows from the threshold on
    opened        integer not null,          -- risks told for the first time
    errors        integer not null,          -- batches on which it raised or answered what cannot be
    dropped       integer not null,          -- batches left out by a shadow that is too slow
    p50_seconds   double precision,          -- of a batch
    p99_seconds   double precision,
    last_error    text not null default '',
    primary key (model_version, role, instance, minute)
);

create table reports (         -- HTML reports, by kind: drift, backtest, calibration
    report_id  uuid primary key,
    kind       text not null,
    created_at timestamptz not null default now(),
    summary    jsonb not null,
    path       text not null                 -- below FOREWARN_HOME
);

create table audit (           -- every decision with its reason
    audit_id bigint generated always as identity primary key,
    at       timestamptz not null default now(),
    actor    text not null,
    action   text not null,
    subject  text not null,
    reason   text not null
);
create index audit_subject on audit (subject, at);

create table service_status (  -- one row a running process, refreshed every few seconds
    service    text not null,
    instance   text not null,
    pid        integer not null,
    started_at timestamptz not null,
    seen_at    timestamptz not null,
    counters   jsonb not null,               -- {"samples_total": …, "lag_messages": …}
    primary key (service, instance)
);

create table capacity_forecasts ( -- the newest of each limited signal: when it fills up within a week
    entity         text not null,
    signal         text not null,
    mode           text not null,
    made_at        timestamptz not null,     -- end of the last whole hour of the event clock
    value          double precision not null,
    limit_value    double precision not null,
    unit           text not null default '',
    history_hours  integer not null,
    within         jsonb not null,           -- {"1h": …, "3h", "6h", "24h", "3d", "7d"}: probabilities
    never          double precision not null, -- not within 7 d
    p10_seconds    double precision,         -- from made_at; null: beyond 7 d
    p50_seconds    double precision,
    p90_seconds    double precision,
    probability_7d double precision not null,
    method         text not null,            -- who serves its class at the farthest horizons
    class          text not null,
    coverage_80    double precision,         -- measured share within 80 % intervals; null: not yet
    payload        jsonb not null,           -- the whole CapacityForecast, with the fan for pictures
    telling        jsonb not null,           -- what was told of it so far
    recorded_at    timestamptz not null default now(),
    primary key (entity, signal)
);
create index capacity_forecasts_soonest on capacity_forecasts (probability_7d desc);

create table alarm_control (   -- how far the threshold of paging is raised; the newest row holds
    control_id      bigint generated always as identity primary key,
    at              timestamptz not null default now(),
    raised          double precision not null,   -- log-odds above the model's own threshold
    false_pages     bigint not null,             -- since the row before
    service_seconds double precision not null,
    services        bigint not null,
    clocks          jsonb not null,              -- event clock of each namespace up to which was counted
    reason          text not null
);

create table smoke_results (   -- would we have seen it here? synthetic degradations in a copy of the stream
    run_id         uuid not null,
    at             timestamptz not null default now(),
    model_version  text not null,
    entity         text not null,
    kind           text not null,                -- leak, pool_creep, log_burst
    injected       integer not null,
    detected       integer not null,
    median_lead_seconds double precision,
    primary key (run_id, entity, kind)
);
create index smoke_results_at on smoke_results (at);

create table rule_states (     -- rules of a team's own that hold now; see forewarn.alerting.rules
    rule        text not null,
    entity      text not null,
    series      text not null,               -- '' where the rule is about the entity
    since       timestamptz not null,        -- event times
    last_true   timestamptz not null,
    incident_id uuid,                        -- null: not yet for long enough to be told
    primary key (rule, entity, series)
);

create table api_tokens (      -- of the doors; see forewarn.stores.tokens
    token_id     text primary key,           -- what people name it by
    name         text not null,              -- whose it is; a token and its successor may share it
    scopes       text[] not null,
    hash         bytea not null unique,      -- SHA-256 of a token of 256 random bits, which is nowhere else
    author       text not null,
    created_at   timestamptz not null default now(),
    expires_at   timestamptz,                -- null: never
    revoked_at   timestamptz,
    last_used_at timestamptz                 -- to about a minute
);

create table responses (       -- what was proposed, approved and done; see forewarn.alerting.responses
    response_id   uuid primary key,          -- what it calls or runs is told it, so that it can tell repetitions
    response      text not null,             -- its name in the file
    kind          text not null,             -- webhook, command
    incident_id   uuid not null,
    entity        text not null,
    status        text not null,             -- proposed, approved, declined, expired, superseded, running, succeeded,
                                             -- failed, unknown, dry_run
    automatic     boolean not null,
    averts        boolean not null,
    plan          jsonb not null,            -- what would be done, with the names of secrets
    facts         jsonb not null,            -- what placeholders stood for
    why           text not null,             -- why it was proposed
    proposed_at   timestamptz not null default clock_timestamp(),  -- this and all below: wall clock, but acted_at
    expires_at    timestamptz not null,
    decided_by    text,
    decided_at    timestamptz,
    note          text not null default '',  -- what was said with the decision
    held_for      text,                      -- cooldown, rate_limit … : why it does not run yet
    held_why      text not null default '',
    term          uuid,                      -- of the process that ran it
    started_at    timestamptz,
    ended_at      timestamptz,
    outcome       text not null default '',
    output        text not null default '',  -- its end and begin, scrubbed
    acted_at      timestamptz                -- event clock of the namespace when it ended
);
create unique index responses_once on responses (response, incident_id)
    where status not in ('superseded', 'dry_run');
create unique index responses_rehearsed_once on responses (response, incident_id)
    where status = 'dry_run';
create unique index responses_one_at_a_time on responses (entity) where status = 'running';
create index responses_incident on responses (incident_id);
create index responses_pending on responses (proposed_at) where status in ('proposed', 'approved');
create index responses_started on responses (started_at) where started_at is not null;

create table abstention_history (            -- when the reason to be silent about a signal became another
    entity text not null,
    signal text not null,
    time   timestamptz not null,             -- since when; it ends with the next
    code   text not null,                    -- '' from when on it is judged again
    reason text not null,
    primary key (entity, signal, time)
);
create index abstention_history_time on abstention_history using brin (time);
