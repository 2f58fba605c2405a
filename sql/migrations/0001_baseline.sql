-- The tables of the delivery pipeline. No lock on anything that exists; milliseconds.

comment on schema qctl is 'Webhook delivery from PostgreSQL: pgmq queue to HTTP endpoint, at least once.';
comment on table qctl.migration is 'Numbered migrations that were applied to this database.';
comment on table qctl.routine is 'Checksum of each routine file as last applied.';

create table qctl.queue (
  queue_id          integer generated always as identity primary key,
  queue_uuid        uuid not null default gen_random_uuid() unique,
  queue_name        text not null unique
                    constraint queue_name_check check (queue_name ~ '^[a-z_][a-z0-9_]{0,46}$'),
  transport         text not null default 'http'
                    constraint queue_transport_check check (transport in ('http', 'pg_net')),
  url               text not null,
  headers           jsonb not null default '{}'
                    constraint queue_headers_check check (jsonb_typeof(headers) = 'object'),
  timeout_ms        integer not null default 15000
                    constraint queue_timeout_check check (timeout_ms between 100 and 300000),
  concurrency       integer not null default 50
                    constraint queue_concurrency_check check (concurrency between 1 and 10000),
  max_in_flight     integer not null default 1000
                    constraint queue_max_in_flight_check check (max_in_flight between 1 and 100000),
  retry_schedule_s  integer[] not null default '{5,300,1800,7200,18000,36000,50400,72000,86400}'
                    constraint queue_retry_schedule_check
                    check (cardinality(retry_schedule_s) <= 100 and 0 < all (retry_schedule_s)
                           and 2592000 >= all (retry_schedule_s) and array_position(retry_schedule_s, null) is null),
  retry_jitter      double precision not null default 0.2
                    constraint queue_retry_jitter_check check (retry_jitter between 0 and 1),
  retry_after_max_s integer not null default 86400
                    constraint queue_retry_after_max_check check (retry_after_max_s between 0 and 2592000),
  reject_after      integer not null default 3
                    constraint queue_reject_after_check check (reject_after >= 1),
  max_lost          integer not null default 10
                    constraint queue_max_lost_check check (max_lost >= 0),
  created_at        timestamptz not null default now(),
  created_by        text not null default session_user
);
comment on constraint queue_timeout_check on qctl.queue is 'timeout is 100ms to 5m';
comment on constraint queue_concurrency_check on qctl.queue is 'concurrency is 1 to 10000';
comment on constraint queue_max_in_flight_check on qctl.queue is 'max in flight is 1 to 100000';
comment on constraint queue_retry_schedule_check on qctl.queue is 'the retry schedule has at most 100 waits of 1s to 30d';
comment on constraint queue_retry_jitter_check on qctl.queue is 'retry_jitter is 0 to 1';
comment on constraint queue_retry_after_max_check on qctl.queue is 'retry_after_max_s is 0 to 2592000';
comment on constraint queue_reject_after_check on qctl.queue is 'reject_after is at least 1';
comment on constraint queue_max_lost_check on qctl.queue is 'max_lost is at least 0';
comment on table qctl.queue is 'A pgmq queue and its delivery settings; one endpoint per queue.';
comment on column qctl.queue.queue_uuid is 'Part of each webhook-id: a queue created again never repeats an id.';
comment on column qctl.queue.concurrency is 'Simultaneous requests of one qctl worker process.';
comment on column qctl.queue.max_in_flight is 'Live leases of all workers together; held by the lock on the gate row.';
comment on column qctl.queue.retry_schedule_s is 'Wait in seconds after failed attempt 1, 2, …; one attempt more than waits, then dead.';
comment on column qctl.queue.reject_after is 'Attempts answered 400, 413, 415 or 422 before the message is dead.';
comment on column qctl.queue.max_lost is 'Leases that may run out unanswered before the message is dead.';

create table qctl.gate (
  queue_id     integer primary key references qctl.queue on delete cascade,
  paused_at    timestamptz,
  paused_by    text,
  pause_reason text
);
comment on table qctl.gate is 'One row per queue. A claim locks it: what limits claiming is decided under that lock.';

create table qctl.attachment (
  attachment_id integer generated always as identity primary key,
  queue_id      integer not null references qctl.queue on delete cascade,
  relation      regclass not null,
  operations    text[] not null,
  when_sql      text,
  columns       text[],
  payload       text not null default 'qctl'
                constraint attachment_payload_check check (payload in ('qctl', 'supabase')),
  unchanged     boolean not null default false,
  created_at    timestamptz not null default now(),
  created_by    text not null default session_user,
  constraint attachment_queue_relation_key unique (queue_id, relation)
);
comment on table qctl.attachment is 'A table whose changes are captured into a queue.';
comment on column qctl.attachment.when_sql is 'Condition over new and old; null captures all.';
comment on column qctl.attachment.columns is 'An UPDATE counts only if one of these changed; null: any column.';
comment on column qctl.attachment.unchanged is 'Capture updates that change nothing, too.';

create table qctl.worker (
  worker_id    bigint generated always as identity primary key,
  name         text not null,
  transport    text not null,
  queues       text[] not null,
  qctl_version text not null,
  started_at   timestamptz not null default clock_timestamp(),
  last_seen_at timestamptz not null default clock_timestamp(),
  stopped_at   timestamptz
) with (fillfactor = 50);
comment on table qctl.worker is 'Whatever delivers, as it last reported.';

create table qctl.in_flight (
  queue_id    integer not null,
  msg_id      bigint not null,
  enqueued_at timestamptz not null,
  lease       uuid not null,
  delivery_no integer not null,
  attempt_no  integer not null,
  worker_id   bigint,
  transport   text not null,
  request_id  bigint,
  epoch       uuid,
  claimed_at  timestamptz not null,
  expires_at  timestamptz not null,
  lapsed_at   timestamptz,
  constraint in_flight_pkey primary key (queue_id, msg_id, lease)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
create unique index in_flight_live_idx on qctl.in_flight (queue_id, msg_id) where lapsed_at is null;
create index in_flight_lapsed_idx on qctl.in_flight (lapsed_at) where lapsed_at is not null;
comment on table qctl.in_flight is 'One row per attempt under way: a lease on a message. Lapsed rows wait for late answers.';
comment on column qctl.in_flight.enqueued_at is
  'With msg_id names the event: sequences hand out numbers again after a failover, a re-create or a setval.';
comment on index qctl.in_flight_live_idx is 'A message has one live lease; also what room and lapse read, never more than max_in_flight rows.';

create table qctl.retry (
  queue_id    integer not null,
  msg_id      bigint not null,
  enqueued_at timestamptz not null,
  delivery_no integer not null,
  attempt_no  integer not null,
  attempts    integer not null,
  rejected    integer not null,
  lost        integer not null,
  next_at     timestamptz,
  last_status integer,
  last_error  text,
  webhook_id  text,
  replayed_at timestamptz,
  constraint retry_pkey primary key (queue_id, msg_id, enqueued_at)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
comment on table qctl.retry is 'One row per unfinished message that was tried or replayed; the only source of attempt_no.';
comment on column qctl.retry.attempt_no is 'Number of the last attempt of this delivery, lost ones included.';
comment on column qctl.retry.attempts is 'Attempts spent: answered, and counted against the schedule.';
comment on column qctl.retry.webhook_id is 'Override of the id, from a replay that asked for a new one.';

create table qctl.attempt (
  queue_id    integer not null,
  msg_id      bigint not null,
  delivery_no integer not null,
  attempt_no  integer not null,
  outcome     text not null
              constraint attempt_outcome_check
              check (outcome in ('delivered', 'retrying', 'dead', 'paused', 'late', 'lost')),
  worker_id   bigint,
  transport   text not null,
  claimed_at  timestamptz not null,
  settled_at  timestamptz not null,
  duration_ms integer,
  status_code integer,
  error       text,
  response    text,
  next_at     timestamptz,
  constraint attempt_pkey primary key (queue_id, msg_id, delivery_no, attempt_no)
);
create index attempt_settled_idx on qctl.attempt (queue_id, settled_at);
create index attempt_failed_idx on qctl.attempt (queue_id, settled_at) where outcome <> 'delivered';
comment on table qctl.attempt is 'Append-only log: one HTTP try of one message, and what it did to the message.';
comment on column qctl.attempt.outcome is
  'delivered, retrying, dead; paused: a 410 that cost no attempt; late: logged only; lost: no answer came.';
comment on column qctl.attempt.response is 'First 4 KiB of the answer.';

create table qctl.dead_letter (
  queue_id    integer not null,
  msg_id      bigint not null,
  delivery_no integer not null,
  attempts    integer not null,
  lost        integer not null,
  reason      text not null
              constraint dead_letter_reason_check check (reason in ('exhausted', 'rejected', 'lost', 'discarded')),
  note        text,
  status_code integer,
  error       text,
  enqueued_at timestamptz not null,
  read_ct     integer not null,
  message     jsonb,
  headers     jsonb,
  webhook_id  text,
  died_at     timestamptz not null,
  constraint dead_letter_pkey primary key (queue_id, msg_id, enqueued_at)
);
create index dead_letter_died_idx on qctl.dead_letter (died_at);
comment on table qctl.dead_letter is 'Messages whose attempts are spent or that were discarded, with their payload.';

create table qctl.audit (
  audit_id    bigint generated always as identity primary key,
  at          timestamptz not null default clock_timestamp(),
  actor       text not null default session_user,
  application text not null default current_setting('application_name'),
  verb        text not null,
  queue_name  text,
  detail      jsonb not null default '{}'
);
create index audit_at_idx on qctl.audit (at);
comment on table qctl.audit is 'Who changed what, when. Never a payload, never a secret.';
