-- What is wrong with the Edge Function, and what it does.

create or replace function qctl._edge_refusal(p_wake qctl.edge_wake, p_url text, out reason text, out fix text)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
           when w.status = 200 then 'the edge function answers that a worker runs, but none has reported'
           when w.status = 404 then format('the edge function is not deployed: %s answers HTTP 404', p_url)
           when w.status = 401 and w.error ~* '(jwt|authorization)' then 'the edge function wants a key of Supabase (HTTP 401): deploy it without JWT verification'
           when w.status = 401 then 'the edge function refuses the signature of its wakes (HTTP 401): its QCTL_WAKE_SECRET is another one'
           when w.error ~ 'QCTL_(DSN|WAKE_SECRET)' then format('the edge function lacks a secret: %s', w.message)
           when w.status is not null then format('the edge function answers HTTP %s: %s', w.status, w.message)
           else format('the edge function does not answer: %s', w.message) end,
         case
           when w.status = 404 or w.status = 401 and w.error ~* '(jwt|authorization)'
             then 'supabase functions deploy ' || qctl._word(qctl._edge_name(p_url)) || ' --no-verify-jwt'
           when w.status = 401 or w.error ~ 'QCTL_(DSN|WAKE_SECRET)' then 'supabase secrets set --env-file supabase/.env.qctl'
           when w.error ~ 'no connection to the database' then 'qctl edge wake --new-password'
           else 'qctl help edge-worker' end
  from (select p_wake.status, p_wake.error,
               coalesce(replace(substring(p_wake.error from '"error":\s*"((?:[^"\\]|\\.)*)'), '\"', '"'), p_wake.error, 'no reason given') as message) w
$$;
comment on function qctl._edge_refusal(qctl.edge_wake, text) is 'Why a wake began no worker, and what to type.';

create or replace function qctl._failed_runs(p_job_id bigint) returns integer
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select count(*) filter (where not l.other)
          from (select bool_or(d.status <> 'failed') over (order by d.runid desc) as other
                from cron.job_run_details d
                where d.runid > (select max(m.runid) from cron.job_run_details m) - 5000 and d.jobid = p_job_id and d.end_time is not null
                order by d.runid desc limit 10) l);
exception when insufficient_privilege or undefined_table or undefined_column then
  return 0;
end
$$;
comment on function qctl._failed_runs(bigint) is 'How many runs of a job have failed since one succeeded, at most 10.';

create or replace function qctl._edge_fault(p_least integer) returns table (since timestamptz, reason text, fix text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_edge qctl.edge_function;
  v_wake qctl.edge_wake;
  v_job record;
begin
  select * into v_edge from qctl.edge_function e where e.stopped_at is null;
  if not found then
    return;
  end if;
  select j.job_name, j.active, qctl._failed_runs(j.job_id) as failed, r.message into v_job
  from qctl.jobs() j left join lateral qctl._last_run(j.job_id) r on true where j.job_name = 'qctl-edge';
  fix := 'qctl edge wake';
  reason := case
    when qctl._net_relation('http_request_queue') is null then 'pg_net, which wakes the edge function, is no longer installed'
    -- Something else may call qctl.wake_edge(), so it counts only when nobody has for a while although a message is ready.
    when not qctl._cron_here()
         and greatest(v_edge.set_at, (select max(k.sent_at) from qctl.edge_wake k)) < clock_timestamp() - interval '2 min'
         and exists (select from qctl.ready_queues(array(select q.queue_name from qctl.queue q where q.transport = 'http')))
      then 'pg_cron, which wakes the edge function, is not available to this role in this database'
    when qctl._cron_here() and qctl._owns_jobs() and v_job.job_name is null then 'no pg_cron job wakes the edge function'
    when not v_job.active then 'job qctl-edge, which wakes the edge function, is switched off'
    -- One failed run says nothing: the next one comes within a minute.
    when v_job.failed >= 3 then 'job qctl-edge, which wakes the edge function, fails: ' || left(btrim(v_job.message), 200) end;
  if reason is not null then
    fix := case when reason ~ '^pg_net' then 'create extension pg_net;' when reason ~ '^pg_cron' then 'create extension pg_cron;' else fix end;
    return next;
    return;
  end if;
  select * into v_wake from qctl.edge_wake k order by k.sent_at desc limit 1;
  if v_wake.answered_at is null and v_wake.used_at is null then
    -- The job has not looked since.
    select a.status, a.error into v_wake.status, v_wake.error from qctl._wake_answer(v_wake) a;
    if v_wake.status is null and v_wake.error is null then
      select * into v_wake from qctl.edge_wake k where k.answered_at is not null order by k.sent_at desc limit 1;
    elsif v_wake.status is distinct from 200 then
      v_edge.unanswered := v_edge.unanswered + 1;
    end if;
  end if;
  -- An isolate whose time is used up answers 200 for as long as it lives, which is 150 s at the most.
  -- What refuses a wake goes on refusing; what does not answer may do so at the next one.
  if v_edge.unanswered >= (case when v_wake.status = 200 then 40 when v_wake.status in (401, 404) or v_wake.error ~ 'QCTL_(DSN|WAKE_SECRET)' then 1
                                else p_least end) then
    select f.reason, f.fix into reason, fix from qctl._edge_refusal(v_wake, v_edge.url) f;
    since := (select min(k.sent_at) from (select o.sent_at from qctl.edge_wake o where o.used_at is null order by o.sent_at desc limit v_edge.unanswered) k);
    return next;
  end if;
end
$$;
comment on function qctl._edge_fault(integer) is
  'Why the Edge Function does not deliver although it should: its job, or at least p_least wakes in a row that began no worker. No row if nothing is wrong.';

create or replace function qctl.edge_status()
returns table (url text, state text, reason text, fix text, schedule text, most integer, running integer, in_flight integer,
               last_wake_at timestamptz, last_answer text, next_wake_at timestamptz, wakes_today bigint, wakes_30_days bigint,
               delivered_30_days bigint, without_work_30_days bigint, cpu_ms_per_message double precision, ended jsonb, function_version text,
               pooler text, pooled boolean, secret_mark text, set_at timestamptz)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_edge qctl.edge_function;
  v_last qctl.edge_wake;
begin
  select * into v_edge from qctl.edge_function;
  if not found then
    return;
  end if;
  url := v_edge.url;
  most := v_edge.most;
  pooler := v_edge.pooler;
  set_at := v_edge.set_at;
  select f.reason, f.fix into reason, fix from qctl._edge_fault(1) f;
  select count(*), coalesce(sum(h.held), 0) into running, in_flight
  from qctl._edge_workers() w
  cross join lateral (select count(*) as held from qctl.in_flight f where f.worker_id = w.worker_id and f.lapsed_at is null) h;
  state := case when v_edge.stopped_at is not null then 'stopped' when running > 0 then 'running' when reason is not null then 'failing'
                when exists (select from qctl.ready_queues(array(select q.queue_name from qctl.queue q where q.transport = 'http'))) then 'waiting'
                when not exists (select from qctl.edge_wake) then 'never woken' else 'idle' end;
  schedule := (select j.schedule from qctl.jobs() j where j.job_name = 'qctl-edge');
  select * into v_last from qctl.edge_wake k order by k.sent_at desc limit 1;
  if v_last.answered_at is null and v_last.used_at is null then
    select a.status, a.error, case when a.status is not null or a.error is not null then clock_timestamp() end
    into v_last.status, v_last.error, v_last.answered_at from qctl._wake_answer(v_last) a;
  end if;
  last_wake_at := v_last.sent_at;
  last_answer := case when v_last.wake_id is null then null when v_last.answered_at is null and v_last.used_at is null then 'in flight'
                      when v_last.used_at is not null then 'a worker began' when v_last.status = 200 then 'a worker runs already'
                      else coalesce('HTTP ' || v_last.status || coalesce(': ' || v_last.error, ''), v_last.error) end;
  next_wake_at := case when v_edge.next_at > clock_timestamp() and v_edge.stopped_at is null then v_edge.next_at end;
  select count(*) filter (where k.sent_at > clock_timestamp() - interval '24 h'), count(*), coalesce(sum(k.claimed), 0),
         count(*) filter (where k.ended_at is not null and k.claimed = 0), sum(k.cpu_ms) / nullif(sum(k.claimed), 0)
  into wakes_today, wakes_30_days, delivered_30_days, without_work_30_days, cpu_ms_per_message
  from qctl.edge_wake k where k.sent_at > clock_timestamp() - interval '30 days';
  select coalesce(jsonb_object_agg(e.reason, e.n order by e.reason), '{}') into ended
  from (select k.reason, count(*) as n from qctl.edge_wake k
        where k.sent_at > clock_timestamp() - interval '30 days' and k.reason is not null group by k.reason) e;
  select w.qctl_version, k.pooled into function_version, pooled
  from qctl.edge_wake k join qctl.worker w on w.worker_id = k.worker_id order by k.sent_at desc limit 1;
  secret_mark := (select s.mark from qctl.edge_secret s where s.expires_at is null);
  return next;
end
$$;
comment on function qctl.edge_status() is
  'The Edge Function that qctl wakes; no row if none is known. delivered_30_days counts attempts. ended: how many workers ended for which reason.';

create or replace function qctl._doctor_edge() returns setof qctl.finding
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_edge record;
  v_deploy text;
  v_hour record;
begin
  select * into v_edge from qctl.edge_status();
  if v_edge.url is null or v_edge.state = 'stopped' then
    return;
  end if;
  v_deploy := 'qctl edge init && supabase functions deploy ' || qctl._word(qctl._edge_name(v_edge.url)) || ' --no-verify-jwt';
  -- Where a queue is without a worker for it, health says so.
  if v_edge.reason is not null and not exists (select from qctl._edge_fault(2) where exists (select from qctl.queue q where q.transport = 'http')) then
    return query select 'warning', 'edge', qctl._edge_name(v_edge.url), v_edge.reason, v_edge.fix;
  end if;
  if v_edge.function_version is not null and qctl._version_number(v_edge.function_version) < qctl._version_number(qctl._version()) then
    return query select 'warning', 'edge', qctl._edge_name(v_edge.url),
                        format('the deployed function has version %s, but the schema has version %s', v_edge.function_version, qctl._version()), v_deploy;
  end if;
  if v_edge.pooler is not null and not v_edge.pooled then
    return query select 'warning', 'edge', qctl._edge_name(v_edge.url),
                        format('its workers are connected directly, not through the pooler %s, so each takes one of max_connections', v_edge.pooler),
                        'supabase secrets set --env-file supabase/.env.qctl';
  end if;
  select count(*) as wakes, count(*) filter (where k.claimed = 0) as idle, count(*) filter (where k.reason = 'cpu') as cpu,
         round(avg(k.claimed) filter (where k.reason = 'cpu')) as each
  into v_hour from qctl.edge_wake k where k.sent_at > clock_timestamp() - interval '1 h' and k.ended_at is not null;
  if v_hour.idle >= 5 and v_hour.idle * 2 > v_hour.wakes then
    return query select 'note', 'edge', qctl._edge_name(v_edge.url),
                        format('%s of its %s wakes of the last hour found nothing to do', v_hour.idle, v_hour.wakes), 'qctl status --workers';
  end if;
  if v_hour.cpu >= 5 and v_hour.cpu * 2 > v_hour.wakes then
    return query select 'note', 'edge', qctl._edge_name(v_edge.url),
                        format('%s of its %s workers of the last hour ended because their CPU time was used up, after %s messages each; qctl worker has no such limit',
                               v_hour.cpu, v_hour.wakes, v_hour.each), 'qctl capacity';
  end if;
end
$$;
