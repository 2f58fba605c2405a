-- Jobs of pg_cron: which jobs qctl needs, and scheduling them.

create or replace function qctl._check_schedule(p_schedule text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_schedule !~ '^\s*([0-9*/,$A-Za-z-]+\s+){4}[0-9*/,$A-Za-z-]+\s*$' and p_schedule !~ '^[1-5]?[0-9] seconds?$' then
    raise exception '% is not a valid schedule', quote_literal(left(p_schedule, 100))
      using errcode = 'QC002',
            detail = 'pg_cron reads five fields and ignores a sixth, so */30 * * * * * would run every 30 minutes.',
            hint = 'for example * * * * *';
  end if;
end
$$;

create or replace function qctl._schedule_job(p_name text, p_schedule text, p_command text) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
begin
  perform qctl._check_schedule(p_schedule);
  if exists (select from cron.job j where j.jobname::text = p_name and j.username::text = current_user
               and j.database <> current_database()::text) then
    raise exception 'role ''%'' already has a job ''%'' for another database of this server', current_user, p_name
      using errcode = 'QC007', hint = 'install qctl here as another role, because pg_cron keeps job names per role';
  end if;
  -- Unscheduled first because schedule() leaves a job switched off, and not every role may call alter_job().
  perform cron.unschedule(j.jobid) from cron.job j
  where j.jobname::text = p_name and j.username::text = current_user and not j.active;
  return cron.schedule(p_name, p_schedule, p_command);
end
$$;

create or replace function qctl._cron_slots() returns integer
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(qctl._setting('cron.max_running_jobs')::integer,
                  case when qctl._setting('cron.use_background_workers') = 'on' then 5 else 32 end)
$$;
comment on function qctl._cron_slots() is 'How many jobs of all roles pg_cron runs at the same time.';

create or replace function qctl._cron_has_seconds() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((select qctl._version_number(e.extversion) >= '{1,5}' from pg_extension e where e.extname = 'pg_cron'), false)
$$;
comment on function qctl._cron_has_seconds() is 'True if pg_cron takes a schedule in seconds, as it does from version 1.5.';

create or replace function qctl._wanted_jobs() returns table (job_name text, schedule text, command text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with net as (
    select q.queue_id, q.queue_name, q.dedicated from qctl.queue q
    where q.transport = 'pg_net'
       or exists (select from qctl.in_flight f where f.queue_id = q.queue_id and f.request_id is not null and f.lapsed_at is null)
  )
  select 'qctl-worker' || case when n > 1 then '-' || n else '' end, '* * * * *', 'call qctl.work()'
  from qctl.scheduler s, generate_series(1, s.workers) n where exists (select from net where not net.dedicated)
  union all
  select 'qctl-worker-' || net.queue_name, '* * * * *', format('call qctl.work(%L)', net.queue_name)
  from net, qctl.scheduler s where net.dedicated and s.workers > 0
  union all
  select 'qctl-maintenance', '* * * * *', 'call qctl.maintenance()' where exists (select from qctl.queue)
  union all
  select 'qctl-edge', case when qctl._cron_has_seconds() then '5 seconds' else '* * * * *' end, 'select qctl.wake_edge()'
  from qctl.edge_function e where e.stopped_at is null
$$;
comment on function qctl._wanted_jobs() is
  'The jobs that should exist: one for all queues of pg_net, more shared or '
  'dedicated ones as qctl scale sets them, one for maintenance, and one that wakes the Edge Function.';

create or replace function qctl.jobs() returns table (job_id bigint, job_name text, schedule text, command text, active boolean, owner text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if qctl._cron_here() then
    return query
    select j.jobid, j.jobname::text, j.schedule, j.command, j.active, j.username::text from cron.job j
    where j.database = current_database()::text and (j.jobname::text ~ '^qctl-(worker|maintenance)' and j.command ~ '^call qctl\.'
           or j.jobname::text = 'qctl-edge' and j.command = 'select qctl.wake_edge()')
    order by j.jobname::text;
  end if;
end
$$;
comment on function qctl.jobs() is 'The jobs of qctl in pg_cron, as far as this role may see them.';

create or replace function qctl._plan_jobs(p_switch_on boolean) returns table (job_name text, done text)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
#variable_conflict use_column
declare
  v_job record;
begin
  if not qctl._cron_here() then
    return;
  end if;
  perform pg_advisory_xact_lock(qctl._lock_space('singleton'), qctl._lock_key('plan_jobs'));
  for v_job in
    select h.job_id, h.job_name from qctl.jobs() h
    where h.owner = current_user and not exists (select from qctl._wanted_jobs() w where w.job_name = h.job_name)
  loop
    perform cron.unschedule(v_job.job_id);
    perform qctl._audit('job_unscheduled', null, jsonb_build_object('job', v_job.job_name));
    return query select v_job.job_name, 'unscheduled';
  end loop;
  -- Somebody switched it off by pg_cron's means; that is recorded once.
  for v_job in
    select h.job_name from qctl.jobs() h
    where not h.active and not p_switch_on
      and coalesce((select a.verb from qctl.audit a where a.verb in ('job_off', 'job_scheduled') and a.detail ->> 'job' = h.job_name
                    order by a.audit_id desc limit 1), '') <> 'job_off'
  loop
    perform qctl._audit('job_off', null, jsonb_build_object('job', v_job.job_name));
  end loop;
  for v_job in
    select h.job_name, h.owner from qctl.jobs() h join qctl._wanted_jobs() w on w.job_name = h.job_name
    where h.owner <> current_user and not h.active
  loop
    raise warning 'job ''%'' of role ''%'' is switched off, and role ''%'' may not switch it on', v_job.job_name, v_job.owner, current_user;
  end loop;
  for v_job in
    select w.* from qctl._wanted_jobs() w
    where not exists (select from qctl.jobs() h where h.job_name = w.job_name
                        and (h.owner <> current_user or not h.active and not p_switch_on
                             or h.active and h.schedule = w.schedule and h.command = w.command))
  loop
    perform qctl._schedule_job(v_job.job_name, v_job.schedule, v_job.command);
    perform qctl._audit('job_scheduled', null, jsonb_build_object('job', v_job.job_name));
    return query select v_job.job_name, 'scheduled';
  end loop;
end
$$;
comment on function qctl._plan_jobs(boolean) is
  'Schedules the missing jobs of qctl and removes those that it no longer needs. Returns the changes. p_switch_on: also jobs that are switched off.';

create or replace function qctl._owns_jobs() returns boolean
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select exists (select from qctl.jobs() j where j.owner = current_user)
$$;

create or replace function qctl.running_jobs() returns table (pid integer, slot integer, queue_id integer)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select l.pid, case l.classid::bigint when qctl._lock_space('job_slot') then l.objid::bigint::integer end,
         case l.classid::bigint when qctl._lock_space('job_queue') then l.objid::bigint::integer end
  from pg_locks l
  where l.locktype = 'advisory' and l.objsubid = 2 and l.granted and l.classid::bigint in (qctl._lock_space('job_slot'), qctl._lock_space('job_queue'))
    and l.database = (select d.oid from pg_database d where d.datname = current_database())
$$;
comment on function qctl.running_jobs() is 'The running CALLs of qctl.work: a shared worker has a slot, a dedicated one a queue.';

create or replace function qctl.stop_jobs() returns table (job_name text, done text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set row_security = on
as $$
#variable_conflict use_column
declare
  v_job record;
begin
  update qctl.scheduler s set workers = 0, generation = s.generation + 1;
  for v_job in select * from qctl.jobs() loop
    perform cron.unschedule(v_job.job_id);
    return query select v_job.job_name, 'unscheduled';
  end loop;
  if qctl._cron_here() then
    delete from cron.job_run_details d
    where d.database = current_database()::text and d.command ~ '^(call qctl\.(work|maintenance)\(|select qctl\.wake_edge\()' and d.end_time is not null;
  end if;
exception when insufficient_privilege then
  raise exception 'a job of qctl belongs to another role: %', sqlerrm
    using errcode = 'QC004', hint = 'connect as the role that installed qctl';
end
$$;
comment on function qctl.stop_jobs() is
  'Unschedules the jobs of qctl, deletes their history and ends running CALLs, which takes about a second after the commit.';
