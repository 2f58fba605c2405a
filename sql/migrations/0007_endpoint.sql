-- The endpoint's side: signing and header secrets, a circuit breaker, pace, order per key, deduplication, events for operators.
-- ACCESS EXCLUSIVE on qctl.queue, gate, retry, in_flight, dead_letter and attachment for milliseconds; nothing is rewritten.

-- Keeps upkeep out, which locks in_flight before queue.
select pg_advisory_xact_lock(1902343277, 0);

alter table qctl.queue
  add column rate_per_s          double precision
    constraint queue_rate_check check (rate_per_s between 0.0001 and 100000),
  add column concurrency_auto    boolean not null default false,
  add column breaker_after       integer not null default 10
    constraint queue_breaker_after_check check (breaker_after between 0 and 10000),
  add column breaker_share       double precision not null default 0.7
    constraint queue_breaker_share_check check (breaker_share between 0.05 and 1),
  add column breaker_pause_max_s integer not null default 10
    constraint queue_breaker_pause_check check (breaker_pause_max_s between 1 and 3600),
  add column expect_text         text
    constraint queue_expect_text_check check (length(expect_text) between 1 and 1000),
  add column expect_json         jsonb,
  add column ordered             boolean not null default false,
  add column order_schedule_s    integer[] not null default '{1,5,15,60,300,900}'
    constraint queue_order_schedule_check
    check (cardinality(order_schedule_s) <= 100 and 0 < all (order_schedule_s)
           and 2592000 >= all (order_schedule_s) and array_position(order_schedule_s, null) is null),
  add column on_dead             text not null default 'skip'
    constraint queue_on_dead_check check (on_dead in ('skip', 'block')),
  add column net_secrets         boolean not null default false;
comment on constraint queue_rate_check on qctl.queue is 'a rate is 1/h to 100000/s, or none';
comment on constraint queue_breaker_after_check on qctl.queue is 'the breaker opens after 1 to 10000 failures, or 0: never';
comment on constraint queue_breaker_share_check on qctl.queue is 'the share of failures that opens the breaker is 5% to 100%';
comment on constraint queue_breaker_pause_check on qctl.queue is 'the longest pause of the breaker is 1s to 1h';
comment on constraint queue_expect_text_check on qctl.queue is 'an expected text has 1 to 1000 characters';
comment on constraint queue_order_schedule_check on qctl.queue is 'the schedule of ordered messages has at most 100 waits of 1s to 30d';
comment on constraint queue_on_dead_check on qctl.queue is 'on dead: skip or block';
comment on column qctl.queue.rate_per_s is 'Claims a second of all workers together; null: no limit.';
comment on column qctl.queue.concurrency_auto is 'Each qctl worker finds its concurrency by the endpoint''s latency, up to max_in_flight.';
comment on column qctl.queue.breaker_after is 'Failures of the endpoint in a row that open the breaker; 0: it never opens.';
comment on column qctl.queue.breaker_share is 'Or this share of failures among 20 or more answers within 30 s.';
comment on column qctl.queue.breaker_pause_max_s is 'Pauses between probes grow from 1 s to this.';
comment on column qctl.queue.expect_text is 'A 2xx whose body lacks this text is a failure.';
comment on column qctl.queue.expect_json is 'A 2xx whose body is no JSON that contains this is a failure.';
comment on column qctl.queue.ordered is 'Messages with an order key go out one at a time per key, by msg_id.';
comment on column qctl.queue.order_schedule_s is 'In place of retry_schedule_s for messages with an order key, for others wait behind them.';
comment on column qctl.queue.on_dead is 'What a dead letter does to the messages of its order key: skip (they go on) or block (they wait until it is replayed or discarded).';
comment on column qctl.queue.net_secrets is 'pg_net: accepted that every role can read the secret headers in schema net.';

alter table qctl.gate
  add column failures        integer not null default 0,
  add column failing_since   timestamptz,
  add column window_at       timestamptz,
  add column window_answers  integer not null default 0,
  add column window_failures integer not null default 0,
  add column opened_at       timestamptz,
  add column open_reason     text,
  add column pauses          integer not null default 0,
  add column probe_at        timestamptz,
  add column probe_lease     uuid,
  add column probe_early     boolean not null default false,
  add column probe_ends      timestamptz,
  add column recall_after    bigint,
  add column recall_since    timestamptz,
  add column slow_limit      integer,
  add column paced_at        timestamptz,
  add column swept_key       text;
alter table qctl.gate set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
comment on column qctl.gate.failures is 'Failures of the endpoint in a row; written only when it changes.';
comment on column qctl.gate.window_at is 'Begin of the 30 s in which answers are counted; null while nothing fails.';
comment on column qctl.gate.opened_at is 'The breaker is open since then: nothing is claimed but probes.';
comment on column qctl.gate.probe_at is 'No probe before.';
comment on column qctl.gate.probe_lease is 'The probe under way; its right ends at probe_ends.';
comment on column qctl.gate.probe_early is 'The probe was not due: if it fails, it costs no attempt.';
comment on column qctl.gate.recall_after is 'After an outage: retries up to this msg_id have been made due; null: all.';
comment on column qctl.gate.recall_since is 'The outage began then; what failed since is made due when it ends.';
comment on column qctl.gate.slow_limit is 'Slow start: in flight at most, one more with each answer; null: no limit but max_in_flight.';
comment on column qctl.gate.paced_at is 'Rate: when what was claimed so far would have been claimed at an even pace.';
comment on column qctl.gate.swept_key is 'Up to which order key the maintenance has looked for followers that nobody released.';

alter table qctl.retry add column last_at timestamptz;
comment on column qctl.retry.last_at is 'When its last attempt was settled.';

alter table qctl.in_flight add column order_key text;
create unique index in_flight_order_idx on qctl.in_flight (queue_id, order_key) where lapsed_at is null and order_key is not null;
comment on index qctl.in_flight_order_idx is 'One at a time per order key.';

alter table qctl.dead_letter add column blocks_key text;
create index dead_letter_blocks_idx on qctl.dead_letter (queue_id, blocks_key) where blocks_key is not null;
comment on column qctl.dead_letter.blocks_key is 'The order key whose other messages wait until this one is replayed or discarded.';

alter table qctl.attachment add column order_by text;
comment on column qctl.attachment.order_by is 'The column whose value is the order key of the captured messages.';

create table qctl.signing_secret (
  secret_id  integer generated always as identity primary key,
  queue_id   integer not null references qctl.queue on delete cascade,
  inner_pad  bytea not null,
  outer_pad  bytea not null,
  mark       text not null,
  created_at timestamptz not null default clock_timestamp(),
  created_by text not null default session_user,
  expires_at timestamptz
);
create index signing_secret_queue_idx on qctl.signing_secret (queue_id);
comment on table qctl.signing_secret is 'Keys that sign a queue''s requests. The key itself is not kept, only its two HMAC pads, which are worth as much.';
comment on column qctl.signing_secret.mark is 'First eight hex digits of sha256(key), to tell keys apart.';
comment on column qctl.signing_secret.expires_at is 'It signs until then; null: for ever.';

create table qctl.header_secret (
  name       text primary key constraint header_secret_name_check check (name ~ '^[A-Za-z0-9_.-]{1,100}$'),
  value      text not null,
  changed_at timestamptz not null default clock_timestamp(),
  changed_by text not null default session_user
);
comment on table qctl.header_secret is 'Values of HTTP headers that a queue''s headers name as secret:NAME.';

create table qctl.dedup (
  queue_id   integer not null references qctl.queue on delete cascade,
  dedup_key  text not null constraint dedup_key_check check (length(dedup_key) between 1 and 200),
  msg_id     bigint,
  expires_at timestamptz not null,
  constraint dedup_pkey primary key (queue_id, dedup_key)
);
create index dedup_expires_idx on qctl.dedup (expires_at);
comment on table qctl.dedup is 'Keys of messages that are not to be enqueued again before they expire.';

create table qctl.event_route (
  one        boolean primary key default true constraint event_route_one_check check (one),
  queue_id   integer not null references qctl.queue on delete cascade,
  throttle_s integer not null default 600 constraint event_route_throttle_check check (throttle_s between 0 and 604800),
  set_at     timestamptz not null default now(),
  set_by     text not null default session_user
);
comment on table qctl.event_route is 'The queue that operational events are put into.';

create table qctl.event_last (
  event_type text not null,
  subject    text not null,
  at         timestamptz not null,
  suppressed integer not null default 0,
  constraint event_last_pkey primary key (event_type, subject)
);
comment on table qctl.event_last is 'When an event of a kind was last sent about something, and how many were held back since.';

drop function if exists qctl.describe(text);
drop function if exists qctl.send(text, jsonb[], jsonb, double precision, boolean);
drop function if exists qctl.attach(text, text, text[], text, text[], text, boolean, boolean, boolean, text, integer);
drop function if exists qctl.set_attachment(text, text, text[], text, text[], text, boolean, boolean, boolean, text, integer);
drop function if exists qctl.compare_attachment(text, text, text[], text, text[], text, boolean, boolean, boolean, text, integer);
drop function if exists qctl._check_net_headers(jsonb);
