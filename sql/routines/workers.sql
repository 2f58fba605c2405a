-- Workers as people look at them: processes, jobs, when they were last seen, what they hold.

create or replace function qctl.workers()
returns table (worker_id bigint, name text, kind text, transport text, queues text[], state text, in_flight integer, holds_since timestamptz,
               busy double precision, qctl_version text, role_name text, started_at timestamptz, last_seen_at timestamptz,
               stopped_at timestamptz, job_name text, last_run text, last_message text)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select w.worker_id, w.name, case w.transport when 'http' then 'process' else 'job' end, w.transport, w.queues,
         case when w.stopped_at is not null then 'stopped' when qctl._is_live(w) then 'running' else 'silent' end,
         f.held, f.since, w.busy_s / nullif(w.busy_of_s, 0), w.qctl_version, w.role_name, w.started_at, w.last_seen_at, w.stopped_at,
         null, null, null
  from qctl.worker w
  cross join lateral (select count(*)::integer as held, min(f.claimed_at) as since from qctl.in_flight f
                      where f.worker_id = w.worker_id and f.lapsed_at is null) f
  union all
  select null, j.command, 'schedule', 'pg_cron', '{}', case when not j.active then 'off' when r.status = 'failed' then 'failing' else 'scheduled' end,
         0, null, null, null, j.owner, null, r.at, null, j.job_name, r.status, left(btrim(r.message), 300)
  from qctl.jobs() j left join lateral qctl._last_run(j.job_id) r on true
  order by 14 nulls first, 13 desc nulls last
  limit 100
$$;
comment on function qctl.workers() is
  'Who delivers: processes and jobs as they last reported, and the schedules of pg_cron behind the jobs with how they last ended. '
  'busy: the share of its time in which the database worked for it.';
