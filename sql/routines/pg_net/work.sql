-- The worker inside the database: the procedure that a pg_cron job calls once a minute.

create or replace function qctl._work_holds_slot(p_run qctl.work_run) returns boolean
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select case when (select s.workers from qctl.scheduler s) < 1 then false
              when p_run.queue_id is null then pg_try_advisory_xact_lock(qctl._lock_space('job_slot'), p_run.slot)
              else pg_try_advisory_xact_lock(qctl._lock_space('job_queue'), p_run.queue_id) end
$$;
comment on function qctl._work_holds_slot(qctl.work_run) is
  'True if this CALL holds its slot. Each transaction takes the lock again, so a session whose CALL was cancelled does not keep it.';

create or replace function qctl._work_begin(p_queue text) returns qctl.work_run
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  c_longest constant interval := '60 s';
  c_spare constant interval := '2 s';
  v_run qctl.work_run;
  v_limit interval;
  v_name text;
begin
  select s.generation into v_run.generation from qctl.scheduler s;
  if p_queue is not null then
    select q.queue_id, q.dedicated into v_run.queue_id, v_run.dedicated from qctl._queue(p_queue) q;
    v_run.slot := case when qctl._work_holds_slot(v_run) then 0 end;
    v_name := 'job for ' || p_queue;
  else
    for v_slot in 1..(select s.workers from qctl.scheduler s) loop
      v_run.slot := v_slot;
      v_name := 'job ' || v_slot;
      exit when qctl._work_holds_slot(v_run);
      v_run.slot := null;
    end loop;
  end if;
  if v_run.slot is null then
    return v_run;
  end if;

  select make_interval(secs => s.setting::integer / 1000.0) into v_limit from pg_settings s
  where s.name = 'statement_timeout' and s.setting <> '0';
  v_run.deadline := statement_timestamp() + least(c_longest, v_limit - c_spare);
  v_run.reviewed_at := '-infinity';

  select w.worker_id into v_run.worker_id from qctl.worker w
  where w.transport = 'pg_net' and w.name = v_name order by w.worker_id desc limit 1;
  if found then
    update qctl.worker w set started_at = clock_timestamp(), last_seen_at = clock_timestamp(), stopped_at = null,
      qctl_version = qctl._version(), queues = qctl._work_queues(v_run.queue_id) where w.worker_id = v_run.worker_id;
  else
    v_run.worker_id := qctl.register_worker(v_name, 'pg_net', qctl._work_queues(v_run.queue_id), qctl._version());
  end if;
  return v_run;
end
$$;
comment on function qctl._work_begin(text) is
  'Takes a free slot of a shared worker, or the slot of a queue. The slot is null if none is free or workers are set to 0.';

create or replace function qctl._work_queues(p_queue_id integer) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(q.queue_name order by q.queue_name), '{}') from qctl.queue q
  where q.transport = 'pg_net' and case when p_queue_id is null then not q.dedicated else q.queue_id = p_queue_id end
$$;

create or replace function qctl._work_goes_on(p_run qctl.work_run) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select s.generation = p_run.generation and clock_timestamp() < p_run.deadline
     and case when p_run.queue_id is null then p_run.slot <= s.workers
              when s.workers < 1 then false
              else exists (select from qctl.queue q where q.queue_id = p_run.queue_id and q.dedicated = p_run.dedicated) end
  from qctl.scheduler s
$$;
comment on function qctl._work_goes_on(qctl.work_run) is
  'Read before each step. False at the end of the minute, after an upgrade, or when this worker is no longer needed.';

create or replace function qctl._work_plan(p_run qctl.work_run) returns qctl.work_plan
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
set lock_timeout = '1s'
as $$
declare
  c_review constant interval := '10 s';
  v_plan qctl.work_plan;
  v_epoch uuid;
begin
  -- Includes queues that moved to another transport until their last pg_net request is settled.
  select array_agg(distinct f.queue_id) into v_plan.collect from qctl.in_flight f join qctl.queue q using (queue_id)
  where f.request_id is not null and f.lapsed_at is null
    and case when p_run.queue_id is null then not q.dedicated else q.queue_id = p_run.queue_id end;
  v_epoch := qctl._net_epoch();
  if clock_timestamp() > p_run.reviewed_at + c_review
     or exists (select from qctl.in_flight f
                where f.request_id is not null and f.lapsed_at is null and f.epoch is distinct from v_epoch) then
    select coalesce(v_plan.collect, '{}') || coalesce(array_agg(distinct f.queue_id), '{}') into v_plan.review
    from qctl.in_flight f join qctl.queue q using (queue_id)
    where f.request_id is not null and f.lapsed_at > clock_timestamp() - interval '10 min'
      and case when p_run.queue_id is null then not q.dedicated else q.queue_id = p_run.queue_id end
      and not q.queue_id = any (coalesce(v_plan.collect, '{}'));
  end if;
  if qctl.is_armed() and v_epoch is not null then
    -- A queue on hold gets no share of the batch.
    select array_agg(r.name order by random()) into v_plan.dispatch
    from qctl.ready_queues(qctl._work_queues(p_run.queue_id)) as r (name)
    join qctl.queue q on q.queue_name = r.name join qctl.gate g using (queue_id)
    where g.net_hold_until is null
       or qctl._is_due(g.net_hold_until, clock_timestamp(), interval '10 min')
          and not exists (select from qctl.in_flight f where f.queue_id = q.queue_id and f.request_id is not null and f.lapsed_at is null);
  end if;
  return v_plan;
end
$$;

create or replace function qctl._work_review(p_queue_id integer) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
declare
  v_queue qctl.queue;
begin
  select * into v_queue from qctl.queue q where q.queue_id = p_queue_id;
  if found then
    perform qctl.collect(v_queue.queue_name);
  end if;
exception when others then
  perform qctl._audit_rarely('review_failed', v_queue.queue_name, sqlstate, sqlerrm);
end
$$;
comment on function qctl._work_review(integer) is
  'Checks all requests of one queue, which is slower than collecting answers. An error is recorded and does not stop other queues.';

create or replace function qctl._work_dispatch(p_run qctl.work_run, p_queue text, p_share integer) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
begin
  return qctl.dispatch(p_queue, p_share, p_run.worker_id);
exception when others then
  perform qctl._audit_rarely('dispatch_failed', p_queue, sqlstate, sqlerrm);
  return 0;
end
$$;
comment on function qctl._work_dispatch(qctl.work_run, text, integer) is
  'Dispatches one queue. An error, for example of a dropped or locked queue, is recorded and does not stop other queues.';

create or replace function qctl._work_share(p_plan qctl.work_plan) returns integer
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when cardinality(p_plan.dispatch) > 1
              then greatest(1, qctl._net_batch_size() / cardinality(p_plan.dispatch)) end
$$;
comment on function qctl._work_share(qctl.work_plan) is
  'The share of a batch for each ready queue, because pg_net serves requests in order of arrival. Null for a single queue: no limit.';

create or replace function qctl._work_beat_due(p_run qctl.work_run) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select w.last_seen_at < clock_timestamp() - interval '5 s' from qctl.worker w where w.worker_id = p_run.worker_id
$$;

create or replace function qctl._work_sleep_s(p_run qctl.work_run, p_moved integer) returns double precision
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select greatest(0, least(case when p_moved > 0 then 0.2 else 0.5 end, extract(epoch from p_run.deadline - clock_timestamp())))
$$;

create or replace function qctl._work_end(p_run qctl.work_run) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  -- The job runs again within a minute, so the worker stops only if it is no longer needed.
  update qctl.worker w set last_seen_at = clock_timestamp(),
    stopped_at = case when p_run.slot > s.workers or s.workers < 1 then clock_timestamp() end
  from qctl.scheduler s
  where w.worker_id = p_run.worker_id
$$;

create or replace function qctl._work_busy(p_run qctl.work_run, p_busy_s double precision) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  update qctl.worker w set busy_s = p_busy_s, busy_of_s = extract(epoch from clock_timestamp() - w.started_at) where w.worker_id = p_run.worker_id
$$;
comment on function qctl._work_busy(qctl.work_run, double precision) is 'Stores how many seconds a CALL was not asleep, for qctl.doctor().';

create or replace function qctl._seconds_since(p_at timestamptz, p_more double precision) returns double precision
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select p_more + extract(epoch from clock_timestamp() - p_at)
$$;

-- A SET clause would forbid COMMIT, so this procedure has none: it qualifies every name and leaves all decisions to functions.
create or replace procedure qctl.work(p_queue text default null)
language plpgsql
as $$
declare
  v_run qctl.work_run := qctl._work_begin(p_queue);
  v_plan qctl.work_plan;
  v_answers pg_catalog.record;
  v_item pg_catalog.record;
  v_moved pg_catalog.int4;
  v_awake_at pg_catalog.timestamptz := pg_catalog.clock_timestamp();
  v_busy_s pg_catalog.float8 := 0;
begin
  if v_run.slot is null then
    return;
  end if;
  commit;
  while qctl._work_holds_slot(v_run) loop
    v_plan := qctl._work_plan(v_run);
    v_moved := 0;
    for v_answers in select * from qctl._answers(v_plan.collect) loop
      v_moved := v_moved operator(pg_catalog.+) qctl._settle_answers(v_answers.queue_id, v_answers.lease, v_answers.msg_id,
        v_answers.status, v_answers.error, v_answers.response, v_answers.retry_after_s);
      commit;
      exit when not qctl._work_holds_slot(v_run);
    end loop;
    if v_plan.review is not null then
      for v_item in select u.id from pg_catalog.unnest(v_plan.review) as u (id) loop
        perform qctl._work_review(v_item.id);
        commit;
        exit when not qctl._work_holds_slot(v_run);
      end loop;
      v_run.reviewed_at := pg_catalog.clock_timestamp();
    end if;
    for v_item in select u.name from pg_catalog.unnest(v_plan.dispatch) as u (name) loop
      v_moved := v_moved operator(pg_catalog.+) qctl._work_dispatch(v_run, v_item.name, qctl._work_share(v_plan));
      commit;
      exit when not qctl._work_holds_slot(v_run);
    end loop;
    perform qctl.heartbeat(v_run.worker_id, qctl._work_queues(v_run.queue_id)) where qctl._work_beat_due(v_run);
    commit;
    exit when not (qctl._work_holds_slot(v_run) and qctl._work_goes_on(v_run));
    v_busy_s := qctl._seconds_since(v_awake_at, v_busy_s);
    perform pg_catalog.pg_sleep(qctl._work_sleep_s(v_run, v_moved));
    commit;
    v_awake_at := pg_catalog.clock_timestamp();
    exit when not qctl._work_goes_on(v_run);
  end loop;
  perform qctl._work_busy(v_run, qctl._seconds_since(v_awake_at, v_busy_s));
  perform qctl._work_end(v_run);
  commit;
end
$$;
comment on procedure qctl.work(text) is
  'Delivers the queues of the pg_net transport for up to a minute, or until 2 s before '
  'statement_timeout: collects and settles answers, hands ready messages to pg_net and commits each '
  'step. pg_cron runs it every minute; qctl scale schedules it. p_queue: deliver only this queue.';
