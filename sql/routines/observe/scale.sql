-- Scaling: sets the number of jobs, and computes what a queue can deliver and which settings a higher rate needs.

create or replace function qctl._edge_capacity(out most integer, out per_s double precision, out why text, out wakes_per_month bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  c_cpu_s constant double precision := 1.5;
  c_gap_s constant double precision := 2;
  v_cpu_ms double precision;
  v_since timestamptz;
begin
  select e.most, e.set_at into most, v_since from qctl.edge_function e where e.stopped_at is null;
  if not found then
    return;
  end if;
  -- What a worker needs beside its messages must not count, so only wakes with many of them do.
  select sum(k.cpu_ms) / nullif(sum(k.claimed), 0) into v_cpu_ms from qctl.edge_wake k
  where k.sent_at > clock_timestamp() - interval '24 h' and k.claimed >= 500 and k.cpu_ms > 0;
  per_s := most * c_cpu_s * 1000 / coalesce(v_cpu_ms, 0.25) / (c_cpu_s + c_gap_s);
  why := format('CPU time of edge workers: about %s messages each, then the next one begins%s', round(c_cpu_s * 1000 / coalesce(v_cpu_ms, 0.25)),
                case when v_cpu_ms is null then ' (assumed)' else '' end);
  wakes_per_month := (select count(*) * 30 * 24 / greatest(extract(epoch from clock_timestamp() - greatest(v_since, clock_timestamp() - interval '24 h')) / 3600, 1)
                      from qctl.edge_wake k where k.sent_at > greatest(v_since, clock_timestamp() - interval '24 h'));
end
$$;
comment on function qctl._edge_capacity() is 'What the workers of the Edge Function reach together: an isolate has 2 s of CPU time, of which they use 1.5 s.';

create or replace function qctl.capacity(p_queue text default null)
returns table (queue_name text, transport text, workers integer, dedicated boolean, batch integer, max_in_flight integer,
               concurrency integer, latency_s double precision, latency_p95_s double precision, measured bigint,
               ceiling_per_s double precision, limited_by text, hanging_per_s double precision, limits jsonb, wakes_per_month bigint)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  c_pg_net_cycle_s constant double precision := 1.02;
  c_step_s constant double precision := 0.25;
  v_queue qctl.queue;
  v_state qctl.scheduler;
  v_failed bigint;
  v_edge record;
  v_on_edge boolean;
begin
  select * into v_edge from qctl._edge_capacity();
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  select * into v_state from qctl.scheduler;
  for v_queue in select * from qctl.queue q where p_queue is null or q.queue_name = p_queue order by q.queue_name loop
    queue_name := v_queue.queue_name;
    transport := v_queue.transport;
    dedicated := v_queue.dedicated;
    batch := v_queue.batch;
    max_in_flight := v_queue.max_in_flight;
    concurrency := v_queue.concurrency;
    workers := case v_queue.transport
      when 'pg_net' then case when v_queue.dedicated then least(v_state.workers, 1) else v_state.workers end
      else (select count(*) from qctl.worker w where w.transport = 'http' and w.stopped_at is null
              and w.last_seen_at > clock_timestamp() - interval '30 s' and v_queue.queue_name = any (w.queues)) end;
    wakes_per_month := case when v_queue.transport = 'http' then v_edge.wakes_per_month end;
    v_on_edge := v_queue.transport = 'http' and v_edge.most is not null
                 and not exists (select from qctl.worker w where w.transport = 'http' and v_queue.queue_name = any (w.queues) and qctl._is_live(w)
                                   and not exists (select from qctl.edge_wake k where k.worker_id = w.worker_id));
    if v_on_edge then
      workers := v_edge.most;
    end if;
    -- The time of an error says nothing about how long a delivery takes.
    select count(*) filter (where a.delivered), percentile_cont(0.5) within group (order by a.s) filter (where a.delivered),
           percentile_cont(0.95) within group (order by a.s) filter (where a.delivered), count(*) filter (where not a.delivered)
    into measured, latency_s, latency_p95_s, v_failed
    from (select t.outcome = 'delivered' as delivered, case when t.transport = 'pg_net' then extract(epoch from t.settled_at - t.claimed_at)
                      else t.duration_ms / 1000.0 end as s
          from qctl.attempt t
          where t.queue_id = v_queue.queue_id and t.transport = v_queue.transport and t.outcome <> 'late'
            and t.settled_at > statement_timestamp() - interval '10 min'
          order by t.settled_at desc limit 1000) a;

    if v_queue.transport = 'pg_net' then
      limits := jsonb_build_array(
        jsonb_build_object('per_s', qctl._net_batch_size() / c_pg_net_cycle_s, 'limit',
          format('pg_net.batch_size %s, shared by all queues of pg_net', qctl._net_batch_size())),
        jsonb_build_object('per_s', v_queue.max_in_flight / greatest(coalesce(latency_s, 2), 0.5), 'limit',
          format('max_in_flight %s, answers settled in %s s%s', v_queue.max_in_flight,
                 round(greatest(coalesce(latency_s, 2), 0.5)::numeric, 1), case when measured = 0 then ' (assumed)' else '' end)),
        jsonb_build_object('per_s', v_queue.batch / c_step_s * workers, 'limit',
          format('batch %s per step with %s %s', v_queue.batch, workers, case when workers = 1 then 'job' else 'jobs' end)));
      if measured > 0 then
        limits := limits || jsonb_build_object(
          'per_s', least(qctl._net_batch_size(), v_queue.max_in_flight) / greatest(c_pg_net_cycle_s, latency_p95_s - 1), 'limit',
          format('the endpoint: %s requests at once, 95 %% of them settled within %s s',
                 least(qctl._net_batch_size(), v_queue.max_in_flight), round(latency_p95_s::numeric, 1)));
      end if;
    elsif v_queue.concurrency_auto then
      limits := jsonb_build_array(jsonb_build_object('per_s', v_queue.max_in_flight / greatest(coalesce(latency_s, 0.1), 0.05), 'limit',
        format('max_in_flight %s; with concurrency auto the endpoint limits it earlier', v_queue.max_in_flight)));
    else
      limits := jsonb_build_array(
        jsonb_build_object('per_s', workers * v_queue.concurrency / greatest(coalesce(latency_s, 0.1), 0.001), 'limit',
          format('%s %s with concurrency %s, answers in %s ms%s', workers, case when v_on_edge then 'edge worker' else 'worker process' end
                   || case when workers = 1 then '' when v_on_edge then 's' else 'es' end, v_queue.concurrency,
                 round((greatest(coalesce(latency_s, 0.1), 0.001) * 1000)::numeric), case when measured = 0 then ' (assumed)' else '' end)),
        jsonb_build_object('per_s', v_queue.max_in_flight / greatest(coalesce(latency_s, 0.1), 0.05), 'limit',
          format('max_in_flight %s', v_queue.max_in_flight)));
    end if;
    if v_on_edge then
      limits := limits || jsonb_build_object('per_s', v_edge.per_s, 'limit', v_edge.why);
    end if;
    if v_queue.rate_per_s is not null then
      limits := limits || jsonb_build_object('per_s', v_queue.rate_per_s, 'limit', format('its rate limit, %s/s', v_queue.rate_per_s));
    end if;
    if workers = 0 then
      limits := jsonb_build_array(jsonb_build_object('per_s', 0, 'limit', case v_queue.transport
        when 'pg_net' then 'no worker job: qctl scale --workers 1'
        else 'no worker process: qctl worker -q ' || v_queue.queue_name end)) || limits;
    end if;
    select (l.value ->> 'per_s')::double precision, l.value ->> 'limit' into ceiling_per_s, limited_by
    from jsonb_array_elements(limits) with ordinality as l (value, n) order by (l.value ->> 'per_s')::double precision, l.n limit 1;
    if measured = 0 and v_failed > 0 and workers > 0 then
      ceiling_per_s := null;
      limited_by := format('unknown: %s (%s)', case when v_failed = 1 then 'the last attempt was not delivered'
                                                    else format('none of the last %s attempts was delivered', v_failed) end,
                           qctl._failed_answers(v_queue.queue_id, statement_timestamp() - interval '10 min'));
    end if;
    hanging_per_s := v_queue.max_in_flight / (v_queue.timeout_ms / 1000.0);
    return next;
  end loop;
end
$$;
comment on function qctl.capacity(text) is
  'The messages per second that each queue can deliver, and what limits it. The latency is that of the deliveries among the last 1,000 attempts '
  'within 10 min: of the request on http, from claim to settle on pg_net. ceiling_per_s is null if there were only failures. hanging_per_s: attempts per second if every one times out. '
  'wakes_per_month: of the Edge Function, for all queues together, at the rate of the last 24 h.';

create or replace function qctl.sizing(p_queue text, p_per_s double precision)
returns table (reachable boolean, batch integer, max_in_flight integer, concurrency integer, reason text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_now record;
  v_reach double precision;
  v_needed integer;
begin
  if p_per_s is null or not p_per_s > 0 or p_per_s > 1000000 then
    raise exception '% is not a valid rate', p_per_s using errcode = 'QC002', hint = 'use more than 0 and at most 1,000,000 messages/s';
  end if;
  select * into v_now from qctl.capacity(p_queue);
  batch := v_queue.batch;
  max_in_flight := v_queue.max_in_flight;
  concurrency := v_queue.concurrency;
  reachable := true;
  if v_queue.rate_per_s < p_per_s then
    reachable := false;
    reason := format('the rate limit of the queue is %s/s: qctl set -q %s --rate none', v_queue.rate_per_s, p_queue);
  elsif v_queue.transport = 'pg_net' then
    v_reach := floor(qctl._net_batch_size() * 0.9);
    if p_per_s > v_reach then
      reachable := false;
      reason := format('pg_net sends about %s requests/s for all queues together', v_reach);
    else
      batch := greatest(batch, ceil(p_per_s * 0.5));
      v_needed := least(ceil(p_per_s * greatest(coalesce(v_now.latency_p95_s, 3), 2) * 1.5), 100000);
      max_in_flight := greatest(max_in_flight, v_needed);
      reason := format('at most %s messages in flight%s', v_needed,
                       case when v_now.measured = 0 then ', assuming answers in 3 s because none is measured yet' else '' end);
    end if;
  else
    v_needed := ceil(p_per_s * greatest(coalesce(v_now.latency_p95_s, 0.1), 0.005) * 1.5 / greatest(v_now.workers, 1));
    if v_needed > 10000 then
      reachable := false;
      reason := format('one process cannot send %s requests at once: run more worker processes', v_needed);
    else
      concurrency := greatest(v_needed, 1);
      max_in_flight := greatest(max_in_flight, least(4 * concurrency * greatest(v_now.workers, 1), 100000));
      reason := format('%s requests at once in each of %s worker processes%s', concurrency, greatest(v_now.workers, 1),
                       case when v_now.measured = 0 then ', assuming answers in 100 ms because none is measured yet' else '' end);
    end if;
  end if;
  return next;
end
$$;
comment on function qctl.sizing(text, double precision) is
  'The settings that a queue needs for p_per_s messages per second; reachable is false if its transport cannot deliver them.';

create or replace function qctl.scale(
  p_queue text default null, p_workers integer default null, p_dedicated boolean default null, p_batch integer default null,
  p_max_in_flight integer default null, p_concurrency integer default null)
returns table (job_name text, done text)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_settings jsonb := jsonb_strip_nulls(jsonb_build_object(
    'dedicated', p_dedicated, 'batch', p_batch, 'max_in_flight', p_max_in_flight, 'concurrency', p_concurrency));
  v_queue qctl.queue;
  v_jobs integer;
begin
  if p_queue is not null then
    v_queue := qctl._queue(p_queue);
    if v_queue.transport <> 'pg_net' and v_settings ?| array['dedicated', 'batch'] then
      raise exception 'queue ''%'' has transport http, but jobs and batches exist only on pg_net', p_queue
        using errcode = 'QC002', hint = 'use --concurrency and --max-in-flight, and start as many worker processes as you need';
    end if;
    perform qctl._apply_settings(p_queue, v_settings);
  elsif v_settings <> '{}' then
    raise exception 'these settings need a queue' using errcode = 'QC002', hint = 'add -q QUEUE';
  end if;
  if p_workers is not null then
    if p_workers < 0 then
      raise exception 'the number of workers must not be negative' using errcode = 'QC002';
    end if;
    if not qctl._cron_here() then
      raise exception 'pg_cron is not available in this database, so there are no jobs to scale'
        using errcode = 'QC004', hint = 'scale the http transport by its processes: start another qctl worker';
    end if;
    update qctl.scheduler s set workers = least(p_workers, 64);
  end if;
  select count(*) into v_jobs from qctl._wanted_jobs();
  if v_jobs > qctl._cron_slots() / 2 and (p_workers > 1 or p_dedicated) then
    raise exception '% jobs would be more than half of the % that pg_cron runs at once', v_jobs, qctl._cron_slots()
      using errcode = 'QC007',
            hint = format('use at most %s including maintenance, raise cron.max_running_jobs, or use qctl worker', qctl._cron_slots() / 2);
  end if;
  return query select p.job_name, p.done from qctl._plan_jobs(true) p;
  perform qctl._audit('scale', p_queue, jsonb_strip_nulls(v_settings || jsonb_build_object('workers', p_workers)));
end
$$;
comment on function qctl.scale(text, integer, boolean, integer, integer, integer) is
  'Sets the number of shared worker jobs (0 stops them) and the capacity settings of one queue, and schedules the jobs in this '
  'transaction. Running CALLs follow within about a second. Returns the jobs that were scheduled or unscheduled.';
