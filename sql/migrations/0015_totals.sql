-- Counters that outlive the attempt log.

create table qctl.attempt_total (
  queue_id    integer not null,
  outcome     text not null,
  status_code integer not null,
  bucket      integer not null,
  attempts    bigint not null,
  took_ms     bigint not null,
  constraint attempt_total_pkey primary key (queue_id, outcome, status_code, bucket)
) with (fillfactor = 50);
comment on table qctl.attempt_total is
  'Attempts settled since the queue was made or qctl was upgraded to 0.7.0, added up by the maintenance. Read them by qctl.attempt_totals().';
comment on column qctl.attempt_total.status_code is '0: no answer.';
comment on column qctl.attempt_total.bucket is 'Position among qctl._duration_bounds_ms() of the time that the endpoint took; -1: not measured.';
comment on column qctl.attempt_total.took_ms is 'Sum of the times that the endpoint took.';

alter table qctl.upkept add column totalled_to timestamptz not null default now();
comment on column qctl.upkept.totalled_to is 'Attempts settled before this are in qctl.attempt_total. It never moves back, so that no attempt counts twice.';
