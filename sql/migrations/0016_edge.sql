-- A worker in a Supabase Edge Function: where it is, what signs its wakes, each wake, and what a worker can carry. Takes ACCESS
-- EXCLUSIVE on qctl.worker for milliseconds; nothing is rewritten.

create table qctl.edge_function (
  only_row   boolean not null default true,
  url        text not null,
  most       integer not null default 1,
  pooler     text,
  unanswered integer not null default 0,
  next_at    timestamptz not null default clock_timestamp(),
  set_at     timestamptz not null default clock_timestamp(),
  stopped_at timestamptz,
  constraint edge_function_pkey primary key (only_row),
  constraint edge_function_only_row_check check (only_row),
  constraint edge_function_most_check check (most between 1 and 64)
) with (fillfactor = 50);
comment on table qctl.edge_function is 'The Edge Function that qctl wakes: at most one.';
comment on column qctl.edge_function.most is 'How many edge workers may run at once.';
comment on column qctl.edge_function.pooler is 'Host and port of the pooler that its workers should connect through; null for none.';
comment on column qctl.edge_function.unanswered is 'Wakes in a row after which no worker began.';
comment on column qctl.edge_function.next_at is 'No wake before this.';
comment on column qctl.edge_function.stopped_at is 'When qctl edge stop ended it; null while it is woken.';

create table qctl.edge_secret (
  secret_id  integer generated always as identity,
  inner_pad  bytea not null,
  outer_pad  bytea not null,
  mark       text not null,
  created_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz,
  constraint edge_secret_pkey primary key (secret_id)
);
comment on table qctl.edge_secret is 'What signs wakes, as qctl.signing_secret keeps it for queues.';

create table qctl.edge_wake (
  wake_id     uuid not null default gen_random_uuid(),
  sent_at     timestamptz not null default clock_timestamp(),
  request_id  bigint,
  answered_at timestamptz,
  status      integer,
  error       text,
  used_at     timestamptz,
  worker_id   bigint,
  pooled      boolean,
  ended_at    timestamptz,
  reason      text,
  claimed     bigint not null default 0,
  cpu_ms      bigint not null default 0,
  constraint edge_wake_pkey primary key (wake_id)
) with (fillfactor = 70);
create index edge_wake_sent_at_idx on qctl.edge_wake (sent_at);
comment on table qctl.edge_wake is 'Each wake of the Edge Function within 35 days, and the worker that it began.';
comment on column qctl.edge_wake.request_id is 'Of pg_net.';
comment on column qctl.edge_wake.answered_at is 'When its answer was read; null while it is in flight.';
comment on column qctl.edge_wake.used_at is 'When a worker began by it. A wake begins one worker at most, so a replayed one begins none.';
comment on column qctl.edge_wake.reason is 'Why its worker ended: idle, cpu, wall, stopped, shutdown or error; null if it was killed.';

alter table qctl.worker add column carriers text[] not null default '{http}';
comment on column qctl.worker.carriers is 'How it can send: claim gives it only queues of these carriers.';
drop function if exists qctl.capacity(text);
