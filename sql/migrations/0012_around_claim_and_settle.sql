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

alter table qctl.gate drop column probe_early;
alter table qctl.retry add column early boolean not null default false;
comment on column qctl.retry.early is 'Made due before next_at, as a probe or after an outage: if the endpoint is still down, the attempt costs nothing.';

drop function if exists qctl._record_answers(qctl.queue, integer, integer, timestamptz, boolean, integer, text);
drop function if exists qctl._open_breaker(qctl.queue, text, text, timestamptz);
drop function if exists qctl._probe(qctl.queue, timestamptz);
drop function if exists qctl._breaker_pause(integer, integer);
drop function if exists qctl._show_followers(qctl.queue), qctl._unhide_followers(text);
