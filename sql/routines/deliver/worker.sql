-- Workers: their registration, their heartbeats and the upkeep that they run.

create or replace function qctl.register_worker(p_name text, p_transport text, p_queues text[], p_version text)
returns bigint
language sql volatile security definer
begin atomic
  insert into qctl.worker (name, transport, queues, qctl_version, role_name)
  values (left(p_name, 200), p_transport, p_queues, p_version, session_user) returning worker_id;
end;

create or replace function qctl.register_worker(p_name text, p_transport text, p_queues text[], p_version text, p_carriers text[])
returns bigint
language sql volatile security definer
begin atomic
  insert into qctl.worker (name, transport, queues, qctl_version, role_name, carriers)
  values (left(p_name, 200), p_transport, p_queues, p_version, session_user, p_carriers) returning worker_id;
end;
comment on function qctl.register_worker(text, text, text[], text, text[]) is
  'Registers a worker and how it can send; claim gives it only messages for these carriers.';

create or replace function qctl.work_queues(p_queues text[] default null)
returns table (queue_id integer, queue_name text, transport text, concurrency integer, concurrency_auto boolean, max_in_flight integer,
               timeout_ms integer, expects boolean, allow_networks text[], armed boolean, linger_ms integer,
               url text, broker jsonb)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select q.queue_id, q.queue_name, q.transport, q.concurrency, q.concurrency_auto, q.max_in_flight, q.timeout_ms,
         q.expect_text is not null or q.expect_json is not null, q.allow_networks::text[], qctl.is_armed(),
         -- The next message of an order key waits for the settle of the one before.
         case when q.ordered then coalesce(q.linger_ms, 0) else q.linger_ms end, q.url, q.broker
  from qctl.queue q where p_queues is null or q.queue_name = any (p_queues)
  order by q.queue_name
$$;
comment on function qctl.work_queues(text[]) is 'What a worker must know of its queues, whatever their transport: all of them, or those named.';

create or replace function qctl.heartbeat(p_worker_id bigint, p_queues text[] default null) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  update qctl.worker w set last_seen_at = clock_timestamp(), queues = coalesce(p_queues, w.queues)
  where w.worker_id = p_worker_id and w.stopped_at is null;
  return found;
end
$$;
comment on function qctl.heartbeat(bigint, text[]) is
  'Reports that the worker is alive. False if it was marked as gone: its leases may have lapsed, so it must not send those messages.';

create or replace function qctl.unregister_worker(p_worker_id bigint) returns void
language sql volatile security definer
begin atomic
  update qctl.in_flight f set expires_at = clock_timestamp()
  from (select o.queue_id, o.msg_id, o.lease from qctl.in_flight o where o.lapsed_at is null and o.worker_id = p_worker_id
        order by o.queue_id, o.msg_id for update skip locked) as o
  where f.queue_id = o.queue_id and f.msg_id = o.msg_id and f.lease = o.lease;
  update qctl.worker set last_seen_at = clock_timestamp(), stopped_at = clock_timestamp() where worker_id = p_worker_id;
end;
comment on function qctl.unregister_worker(bigint) is
  'Ends a worker and its leases, so that its messages do not wait until the leases expire.';

create or replace function qctl.upkeep(p_silent interval default '15 s')
returns table (lapsed integer, reaped integer, workers_gone integer)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_queue qctl.queue;
  v_gone bigint[];
begin
  lapsed := 0;
  reaped := 0;
  workers_gone := 0;
  if not pg_try_advisory_xact_lock(qctl._lock_space('singleton'), qctl._lock_key('upkeep')) then
    return next;
    return;
  end if;

  with gone as (
    update qctl.worker w set stopped_at = v_now
    where w.stopped_at is null
      and w.last_seen_at < v_now - case w.transport when 'http' then p_silent else greatest(p_silent, interval '5 min') end
    returning w.worker_id
  )
  select array_agg(g.worker_id) into v_gone from gone g;
  if v_gone is not null then
    workers_gone := cardinality(v_gone);
    perform qctl._emit('worker.gone', null, jsonb_build_object('workers', jsonb_agg(distinct w.name), 'queues', jsonb_agg(distinct u.queue)))
    from qctl.worker w cross join lateral unnest(w.queues) as u (queue) where w.worker_id = any (v_gone);
    with theirs as (
      select f.queue_id, f.msg_id, f.lease from qctl.in_flight f
      where f.lapsed_at is null and f.worker_id = any (v_gone) and f.request_id is null and f.expires_at > v_now
      order by f.queue_id, f.msg_id for update skip locked
    )
    update qctl.in_flight f set expires_at = v_now from theirs t
    where f.queue_id = t.queue_id and f.msg_id = t.msg_id and f.lease = t.lease;
  end if;

  for v_queue in select * from qctl.queue order by queue_id loop
    if to_regclass(format('pgmq.%I', 'q_' || v_queue.queue_name)) is null then
      perform qctl._lapse_gone(v_queue);
      continue;
    end if;
    begin
      lapsed := lapsed + qctl._lapse(v_queue, v_now);
    exception when others then
      perform qctl._audit_rarely('lapse_failed', v_queue.queue_name, sqlstate, sqlerrm);
    end;
  end loop;

  with old as (
    delete from qctl.in_flight f
    using (select o.queue_id, o.msg_id, o.lease from qctl.in_flight o
           where o.lapsed_at < v_now - interval '24 h' order by o.queue_id, o.msg_id for update skip locked) as o
    where f.queue_id = o.queue_id and f.msg_id = o.msg_id and f.lease = o.lease
    returning f.*
  ), logged as (
    insert into qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, worker_id, transport, claimed_at, settled_at, error)
    select o.queue_id, o.msg_id, o.delivery_no, o.attempt_no, 'lost', o.worker_id, o.transport, o.claimed_at, o.lapsed_at,
           'no answer before the lease ran out'
    from old o
    on conflict do nothing
  )
  select count(*) into reaped from old;

  delete from qctl.worker w where w.stopped_at < v_now - interval '7 days';
  return next;
end
$$;
comment on function qctl.upkeep(interval) is
  'Lapses expired leases and the leases of silent workers, and logs lost attempts. Any worker may call it; one call runs at a time.';

create or replace function qctl.workers()
returns table (worker_id bigint, name text, kind text, transport text, queues text[], state text, in_flight integer, holds_since timestamptz,
               busy double precision, qctl_version text, role_name text, started_at timestamptz, last_seen_at timestamptz,
               stopped_at timestamptz, job_name text, last_run text, last_message text)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select w.worker_id, w.name, case when w.transport = 'pg_net' then 'job' when exists (select from qctl.edge_wake k where k.worker_id = w.worker_id) then 'edge' else 'process' end,
         w.transport, w.queues,
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
  'The workers: processes, jobs and edge workers as they last reported, and the pg_cron schedules of the jobs with the result of the last run. '
  'busy: the share of its time in which the database worked for it.';
