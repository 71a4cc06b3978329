-- See schema.sql, which has the same for fresh databases.

create table if not exists responses (       -- what was proposed, approved and done; see forewarn.alerting.responses
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
    acted_at      timestamptz                -- event clock of the namespace when it succeeded
);
create unique index if not exists responses_once on responses (response, incident_id)
    where status not in ('superseded', 'dry_run');
create unique index if not exists responses_rehearsed_once on responses (response, incident_id)
    where status = 'dry_run';
create unique index if not exists responses_one_at_a_time on responses (entity) where status = 'running';
create index if not exists responses_incident on responses (incident_id);
create index if not exists responses_pending on responses (proposed_at) where status in ('proposed', 'approved');
create index if not exists responses_started on responses (started_at) where started_at is not null;

create table if not exists abstention_history (            -- when the reason to be silent about a signal became another
    entity text not null,
    signal text not null,
    time   timestamptz not null,             -- since when; it ends with the next
    code   text not null,                    -- '' from when on it is judged again
    reason text not null,
    primary key (entity, signal, time)
);
create index if not exists abstention_history_time on abstention_history using brin (time);
