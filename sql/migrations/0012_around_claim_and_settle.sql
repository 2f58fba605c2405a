-- The breaker as one function of its state and the answers.
create type qctl.answer_counts as (
  alive          integer,
  outages        integer,
  denied         integer,
  failing_since  timestamptz,
  probe          text,
  retry_after_s  integer,
  error          text
);
comment on type qctl.answer_counts is
  'Answers of an endpoint: how many show that it works, that it is down, that it does not accept the credentials; the claim of the first '
  'failure; what the answer to the probe shows (alive, outage, nothing; null if it is not among them) and the Retry-After of it; a reason.';

-- A claim of 0.6.0 that runs during the upgrade reads it.
comment on column qctl.gate.probe_early is 'Not used any more; see qctl.retry.early.';
alter table qctl.retry add column early boolean not null default false;
comment on column qctl.retry.early is 'Made due before next_at, as a probe or after an outage: if the endpoint is still down, the attempt costs nothing.';

drop function if exists qctl._record_answers(qctl.queue, integer, integer, timestamptz, boolean, integer, text);
drop function if exists qctl._open_breaker(qctl.queue, text, text, timestamptz);
drop function if exists qctl._probe(qctl.queue, timestamptz);
drop function if exists qctl._breaker_pause(integer, integer);
drop function if exists qctl._show_followers(qctl.queue), qctl._unhide_followers(text);

-- Maintenance as a list of steps, each with its error and its cursor.
create table qctl.upkeep_step (
  step         text primary key,
  running_pid  integer,
  cursor       text,
  failed_since timestamptz,
  failed_at    timestamptz,
  sqlstate     text,
  error        text
);
comment on table qctl.upkeep_step is 'Steps of the maintenance that failed, are under way, or go on where they stopped.';
comment on column qctl.upkeep_step.running_pid is 'The process that began the step and has not ended it; one that is gone or does something else did not get to its end.';
alter table qctl.upkept
  add column seen_at     timestamptz,
  add column ahead_until timestamptz,
  add column set_back_by interval;
comment on column qctl.upkept.seen_at is 'The clock at the last maintenance.';
comment on column qctl.upkept.ahead_until is 'The clock was set back from this instant: what was kept before may lie in the future until then.';
alter table qctl.gate
  add column retained_to    timestamptz,
  add column retained_to_id bigint;
comment on column qctl.gate.retained_to is 'Up to here the archive has been looked through for messages that are older than the retention.';
drop function if exists qctl._forget_dedup_keys();

alter table qctl.dead_letter drop constraint dead_letter_reason_check;
alter table qctl.dead_letter add constraint dead_letter_reason_check
  check (reason in ('exhausted', 'rejected', 'lost', 'oversize', 'unreadable', 'discarded'));

alter table qctl.gate add column moved_at timestamptz;
comment on column qctl.gate.moved_at is 'When the transport of the queue last changed.';
-- Its parameter has no default any more.
drop function if exists qctl._plan_jobs(boolean);
