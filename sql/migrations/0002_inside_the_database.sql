-- Delivery from inside the database: arming, the pg_net transport, jobs, maintenance. Takes ACCESS EXCLUSIVE on qctl.queue,
-- gate, in_flight and dead_letter for milliseconds; reads dead_letter once (about 1 s per million) and in_flight once.
-- Arms the database it runs in, for until now every database delivered.

-- Keeps upkeep out, which locks in_flight before queue.
select pg_advisory_xact_lock(1902343277, 0);

alter table qctl.queue
  add column batch integer not null default 200
    constraint queue_batch_check check (batch between 1 and 10000),
  add column dedicated boolean not null default false,
  add column trust_location boolean not null default false,
  add column retention_s integer
    constraint queue_retention_check check (retention_s between 60 and 315360000);
comment on constraint queue_batch_check on qctl.queue is 'a batch is 1 to 10000';
comment on constraint queue_retention_check on qctl.queue is 'retention is 1m to 3650d, or none';
comment on column qctl.queue.batch is 'pg_net: messages handed over at once, at most.';
comment on column qctl.queue.dedicated is 'pg_net: a job of its own delivers this queue; the shared ones pass over it.';
comment on column qctl.queue.trust_location is
  'pg_net: a 2xx with a Location header is the endpoint''s own answer, not the end of a redirect.';
comment on column qctl.queue.retention_s is 'How long delivered messages are kept; null: for ever.';

alter table qctl.gate
  add column net_timeouts   integer not null default 0,
  add column net_hold_until timestamptz;
comment on column qctl.gate.net_timeouts is 'pg_net: rounds in a row in which every answer was a timeout.';
comment on column qctl.gate.net_hold_until is
  'pg_net: until then only one message is handed over, for a slow request stalls the batches of all.';

create index in_flight_net_idx on qctl.in_flight (queue_id) where request_id is not null and lapsed_at is null;
create unique index in_flight_request_idx on qctl.in_flight (epoch, request_id) where request_id is not null;

alter table qctl.dead_letter drop constraint dead_letter_reason_check;
alter table qctl.dead_letter add constraint dead_letter_reason_check
  check (reason in ('exhausted', 'rejected', 'lost', 'oversize', 'discarded'));

create table qctl.arming (
  one               boolean primary key default true constraint arming_one_check check (one),
  system_identifier bigint not null,
  database_oid      oid not null,
  timeline          integer not null,
  survive_failover  boolean not null default false,
  armed_at          timestamptz not null default clock_timestamp(),
  armed_by          text not null default session_user
);
comment on table qctl.arming is 'The one database that may deliver. A copy differs in one of the three and stays silent until armed.';
insert into qctl.arming (system_identifier, database_oid, timeline)
select c.system_identifier, d.oid, ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer
from pg_control_system() c, pg_database d where d.datname = current_database();

create unlogged table qctl.net_epoch (
  one   boolean primary key default true constraint net_epoch_one_check check (one),
  epoch uuid not null,
  ident text not null,
  began_at timestamptz not null,
  last_request_id bigint not null default 0
);
comment on column qctl.net_epoch.began_at is 'Answers dated before are those of another time.';
comment on column qctl.net_epoch.last_request_id is 'The highest that was handed out to us; a sequence below it was reset.';
comment on table qctl.net_epoch is
  'Vanishes in the same crash that empties pg_net''s tables and restarts its ids. Unlogged on purpose.';

create table qctl.scheduler (
  one             boolean primary key default true constraint scheduler_one_check check (one),
  generation      bigint not null default 1,
  workers         integer not null default 1 constraint scheduler_workers_check check (workers between 0 and 64),
  net_held_since  timestamptz,
  net_held_reason text,
  net_probe_at    timestamptz
);
comment on table qctl.scheduler is 'What running jobs re-read at each step.';
comment on column qctl.scheduler.generation is 'One more with each upgrade: a running CALL of an older one ends.';
comment on column qctl.scheduler.workers is 'Shared worker jobs wanted.';
comment on column qctl.scheduler.net_held_since is 'pg_net stands still since then; until it moves it gets one message a minute.';
insert into qctl.scheduler default values;

create table qctl.upkept (
  one         boolean primary key default true constraint upkept_one_check check (one),
  rolled_to   timestamptz,
  retained_at timestamptz,
  swept_at    timestamptz
);
comment on table qctl.upkept is 'How far the maintenance has come.';
insert into qctl.upkept default values;

create table qctl.throughput (
  queue_id  integer not null,
  minute    timestamptz not null,
  delivered integer not null,
  failed    integer not null,
  dead      integer not null,
  lost      integer not null,
  p50_ms    integer,
  p95_ms    integer,
  constraint throughput_pkey primary key (queue_id, minute)
);
comment on table qctl.throughput is 'Attempts settled per queue and minute, rolled up by the maintenance. Minutes without any have no row.';
comment on column qctl.throughput.failed is 'Attempts that failed and are retried.';
comment on column qctl.throughput.p50_ms is 'From claim to settled, of the attempts that were answered 2xx.';

create type qctl.work_run as (
  slot integer, queue_id integer, dedicated boolean, worker_id bigint, generation bigint, deadline timestamptz, reviewed_at timestamptz
);
comment on type qctl.work_run is 'What one CALL of qctl.work knows of itself.';
create type qctl.work_plan as (collect integer[], review integer[], dispatch text[]);
comment on type qctl.work_plan is 'One step of qctl.work: queues with requests under way, those whose requests are to be judged, those with ready messages.';

create type qctl.purge_place as (after timestamptz, after_id bigint);
comment on type qctl.purge_place is 'Where a purge goes on.';

drop function if exists qctl.create_queue(text, text, jsonb, jsonb, boolean);
drop function if exists qctl._settle(qctl.queue, uuid[], bigint[], integer[], text[], bytea[], integer[], integer[]);
