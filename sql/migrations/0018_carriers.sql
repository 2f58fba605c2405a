-- Queues that hand over to a broker, and what is kept of a success. Takes ACCESS EXCLUSIVE on qctl.queue and qctl.attempt for
-- milliseconds; nothing is rewritten.

alter table qctl.queue add column broker jsonb not null default '{}' constraint queue_broker_check check (jsonb_typeof(broker) = 'object');
comment on column qctl.queue.broker is
  'How a worker connects to the broker of the URL: options by name. Passwords and tokens are references, secret:NAME, vault:NAME or env:NAME.';
comment on constraint queue_broker_check on qctl.queue is 'broker is a JSON object';

alter table qctl.queue add column log text not null default 'all' constraint queue_log_check check (log in ('all', 'failures'));
comment on column qctl.queue.log is
  'all: every attempt is logged; failures: of the successes that are settled together only one is logged, which stands for all.';
comment on constraint queue_log_check on qctl.queue is 'log is all or failures';

alter table qctl.queue add column archive boolean not null default true;
comment on column qctl.queue.archive is 'False: a delivered message is deleted and not archived.';

alter table qctl.attempt add column stands_for integer not null default 1;
comment on column qctl.attempt.stands_for is 'How many attempts this row stands for: more than one only for successes, where the queue logs failures.';
alter table if exists qctl.attempt_old add column stands_for integer not null default 1;

drop function if exists qctl.describe(text);
drop function if exists qctl.work_queues(text[]);
drop function if exists qctl.attachments(text);
