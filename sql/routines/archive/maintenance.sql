-- Maintenance: periodic work, run by a pg_cron job, or by qctl worker where pg_cron is not available.

create or replace function qctl._roll_up() returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_to timestamptz := date_trunc('minute', clock_timestamp() - interval '30 s');
  v_from timestamptz;
  v_count integer;
begin
  select coalesce(u.rolled_to, v_to - interval '1 h') into v_from from qctl.upkept u for update skip locked;
  if not found or v_from >= v_to then
    return 0;
  end if;
  -- After a long pause at most one day at a time, so the call stays short; status needs only the last hour.
  v_to := least(v_to, v_from + interval '1 day');
  insert into qctl.throughput as t (queue_id, minute, delivered, failed, dead, lost, p50_ms, p95_ms)
  select a.queue_id, date_trunc('minute', a.settled_at),
         count(*) filter (where a.outcome = 'delivered'), count(*) filter (where a.outcome in ('retrying', 'paused')),
         count(*) filter (where a.outcome = 'dead'), count(*) filter (where a.outcome = 'lost'),
         percentile_cont(0.5) within group (order by a.took_ms) filter (where a.outcome = 'delivered'),
         percentile_cont(0.95) within group (order by a.took_ms) filter (where a.outcome = 'delivered')
  from (select a.queue_id, a.settled_at, a.outcome,
               least(extract(epoch from a.settled_at - a.claimed_at) * 1000, 2147483647)::double precision as took_ms
        from qctl.queue q
        join qctl.attempt a on a.queue_id = q.queue_id and a.settled_at >= v_from and a.settled_at < v_to and a.outcome <> 'lost'
        union all
        -- The log tells of a lost attempt a day later, when its answer cannot come any more.
        select f.queue_id, f.lapsed_at, 'lost', null from qctl.in_flight f where f.lapsed_at >= v_from and f.lapsed_at < v_to) a
  group by 1, 2
  on conflict (queue_id, minute) do update
    set (delivered, failed, dead, lost, p50_ms, p95_ms)
      = (excluded.delivered, excluded.failed, excluded.dead, excluded.lost, excluded.p50_ms, excluded.p95_ms);
  get diagnostics v_count = row_count;
  update qctl.upkept u set rolled_to = v_to;
  return v_count;
end
$$;
comment on function qctl._roll_up() is 'Adds the complete minutes to qctl.throughput.';

create or replace function qctl._due_retention() returns setof text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from qctl.upkept u where u.retained_at is null or u.retained_at < clock_timestamp() - interval '10 min') then
    return query
    select q.queue_name from qctl.queue q
    where (q.retention_s is not null and to_regclass(format('pgmq.%I', 'a_' || q.queue_name)) is not null) or qctl._is_partitioned(q.queue_name)
    order by random();
  end if;
end
$$;

create or replace function qctl._retain(p_queue text, p_place qctl.purge_place) returns qctl.purge_place
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_place qctl.purge_place;
  v_queue qctl.queue;
begin
  if qctl._is_partitioned(p_queue) then
    select * into v_queue from qctl.queue q where q.queue_name = p_queue;
    perform qctl._retain_partitions(v_queue);
    set local lock_timeout = '50ms';
    perform qctl._maintain_partitions('pgmq.a_' || p_queue, 'archived_at');
    return null;
  end if;
  select p.next_after, p.next_after_id into v_place.after, v_place.after_id
  from qctl.queue q join qctl.gate g using (queue_id),
       qctl._purge(p_queue, make_interval(secs => q.retention_s), coalesce(p_place.after, g.retained_to, '-infinity'),
                   coalesce(p_place.after_id, g.retained_to_id, 0), 5000) p
  where q.queue_name = p_queue and q.retention_s is not null;
  -- Where the time for deleting ends, the next run goes on.
  update qctl.gate g set retained_to = v_place.after, retained_to_id = v_place.after_id
  from qctl.queue q where q.queue_name = p_queue and g.queue_id = q.queue_id and (g.retained_to, g.retained_to_id) is distinct from (v_place.after, v_place.after_id);
  return v_place;
exception when others then
  perform qctl._audit_rarely('retention_failed', p_queue, sqlstate, sqlerrm);
  return null;
end
$$;
comment on function qctl._retain(text, qctl.purge_place) is
  'Deletes one batch of messages that are older than the retention of the queue; returns where to continue, or null at the end.';

create or replace function qctl._sweep_dropped() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  c_most constant integer := 100000;
  v_id integer;
  v_part regclass;
  v_left integer;
  v_count integer;
begin
  -- Steps from one queue to the next by the index, because the log may be long but queues are few.
  select min(t.queue_id) into v_id from qctl.attempt t;
  while v_id is not null loop
    if not exists (select from qctl.queue q where q.queue_id = v_id) then
      v_left := c_most;
      -- A ctid identifies a row only within its partition.
      for v_part in select l.part from qctl._parts('qctl.attempt') as l (part) loop
        execute format('delete from %1$s t where t.ctid = any (array(select o.ctid from %1$s o where o.queue_id = $1 limit $2))', v_part)
          using v_id, v_left;
        get diagnostics v_count = row_count;
        v_left := v_left - v_count;
        exit when v_left <= 0;
      end loop;
      delete from qctl.throughput t where t.queue_id = v_id;
      delete from qctl.sample t where t.queue_id = v_id;
    end if;
    select min(t.queue_id) into v_id from qctl.attempt t where t.queue_id > v_id;
  end loop;
end
$$;
comment on function qctl._sweep_dropped() is
  'Deletes attempts and statistics of dropped queues, up to 100,000 attempts of a queue at a time.';

create or replace function qctl._sweep() returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  update qctl.upkept u set swept_at = clock_timestamp()
  where u.swept_at is null or u.swept_at < clock_timestamp() - interval '1 h';
  if not found then
    return;
  end if;
  delete from qctl.throughput t where t.minute < clock_timestamp() - interval '30 days';
  perform qctl._sweep_dropped();
  if qctl._cron_here() then
    -- A run that a crash ended has no end time and may have no start time; its age then follows from its run id.
    delete from cron.job_run_details d
    where d.database = current_database()::text and d.command ~ '^call qctl\.(work|maintenance)\('
      and (coalesce(d.end_time, d.start_time) < clock_timestamp() - interval '1 day'
           or d.start_time is null and d.runid < (select max(o.runid) from cron.job_run_details o
                                                  where o.start_time < clock_timestamp() - interval '1 day'));
  end if;
exception when insufficient_privilege then
  perform qctl._audit_rarely('sweep_failed', null, sqlstate, sqlerrm);
end
$$;
comment on function qctl._sweep() is
  'Once an hour: deletes old throughput, the remains of dropped queues, and the history of qctl''s jobs older than a day.';

create or replace function qctl._retention_done(p_place qctl.purge_place) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  update qctl.upkept u set retained_at = clock_timestamp()
  where p_place.after is null and (u.retained_at is null or u.retained_at < clock_timestamp() - interval '10 min')
$$;
comment on function qctl._retention_done(qctl.purge_place) is 'Pauses retention for 10 min unless a queue has more to delete.';

create or replace function qctl._maintenance_deadline(p_for interval) returns timestamptz
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select statement_timestamp() + least(p_for, (
    select make_interval(secs => s.setting::integer / 1000.0) - interval '2 s' from pg_settings s
    where s.name = 'statement_timeout' and s.setting <> '0'))
$$;

create or replace function qctl._before(p_deadline timestamptz, p_place qctl.purge_place) returns boolean
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select p_place.after is not null and clock_timestamp() < p_deadline
$$;

create or replace function qctl._queues_to_collect() returns setof integer
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select distinct f.queue_id from qctl.in_flight f
  where f.request_id is not null and (f.lapsed_at is null or f.lapsed_at > clock_timestamp() - interval '10 min')
$$;
comment on function qctl._queues_to_collect() is
  'The queues with pg_net requests that may still be answered, whatever their present transport is.';

create or replace function qctl._upkeep_steps() returns table (place integer, step text)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select u.place::integer, u.step from unnest(array[
    'clock', 'lapse', 'roll_up', 'samples', 'order', 'held', 'jobs', 'forget_dedup', 'forget_retries', 'forget_attempts', 'forget_audit',
    'forget_small', 'sweep']) with ordinality as u (step, place)
$$;
comment on function qctl._upkeep_steps() is 'The steps of the maintenance before retention, in order.';

create or replace function qctl._upkeep_begin() returns setof text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cut text[];
begin
  -- A step that a timeout or a crash ended before its end comes last this time, so it does not keep the others from their turn.
  with cut as (
    update qctl.upkeep_step s
    set running_pid = null, failed_since = coalesce(s.failed_since, clock_timestamp()), failed_at = clock_timestamp(), sqlstate = '57014',
        error = 'it did not come to its end: statement_timeout, or the session ended'
    where s.running_pid is not null
      and (s.running_pid = pg_backend_pid()
           or not exists (select from pg_stat_activity a where a.pid = s.running_pid and a.state is distinct from 'idle'))
    returning s.step
  )
  select array_agg(c.step) into v_cut from cut c;
  return query select s.step from qctl._upkeep_steps() s order by s.step = any (coalesce(v_cut, '{}')), s.place;
end
$$;

create or replace function qctl._upkeep_mark(p_step text) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  insert into qctl.upkeep_step as s (step, running_pid) values (p_step, pg_backend_pid())
  on conflict (step) do update set running_pid = excluded.running_pid
$$;

create or replace function qctl._do_upkeep_step(p_step text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
declare
  v_more boolean := false;
  v_state text;
begin
  begin
    case p_step
      when 'clock' then perform qctl._look_at_clock();
      when 'lapse' then perform qctl.upkeep();
      when 'roll_up' then perform qctl._roll_up();
      when 'samples' then perform qctl._take_samples();
      when 'order' then perform qctl._sweep_order();
      when 'held' then perform qctl._release_all_held();
      -- What a person switched off stays off.
      when 'jobs' then perform qctl._plan_jobs(false) where qctl._owns_jobs();
      when 'forget_dedup' then v_more := qctl._forget_dedup_keys() >= 10000;
      when 'forget_retries' then v_more := qctl._forget_retries() >= 1000;
      when 'forget_attempts' then v_more := qctl._forget_attempts() >= 1000;
      when 'forget_audit' then v_more := qctl._forget_audit() >= 10000;
      when 'forget_small' then perform qctl._forget_small();
      when 'forget_log' then v_more := qctl._retain_log() > 0;
      when 'sweep' then perform qctl._sweep();
    end case;
    update qctl.upkeep_step s set running_pid = null, failed_since = null, failed_at = null, sqlstate = null, error = null where s.step = p_step;
  exception when others then
    v_state := sqlstate;
    update qctl.upkeep_step s
    set running_pid = null, failed_since = coalesce(s.failed_since, clock_timestamp()), failed_at = clock_timestamp(), sqlstate = v_state,
        error = left(sqlerrm, 500)
    where s.step = p_step;
    v_more := false;
  end;
  return v_more;
end
$$;
comment on function qctl._do_upkeep_step(text) is
  'Does a limited portion of one step of the maintenance; true if it has more to do now. An error is kept in qctl.upkeep_step and stops no other step.';

-- A SET clause would forbid COMMIT, so this procedure has none and qualifies every name.
create or replace procedure qctl.maintenance(p_for interval default '50 s')
language plpgsql
as $$
declare
  v_deadline pg_catalog.timestamptz := qctl._maintenance_deadline(p_for);
  v_place qctl.purge_place;
  v_item pg_catalog.record;
begin
  for v_item in select c.id from qctl._queues_to_collect() as c (id) loop
    perform qctl._work_review(v_item.id);
    commit;
  end loop;
  for v_item in select b.step from qctl._upkeep_begin() as b (step) loop
    perform qctl._upkeep_mark(v_item.step);
    commit;
    while qctl._do_upkeep_step(v_item.step) and pg_catalog.clock_timestamp() operator(pg_catalog.<) v_deadline loop
      commit;
    end loop;
    commit;
  end loop;
  for v_item in select r.name from qctl._due_retention() as r (name) loop
    v_place := null;
    loop
      v_place := qctl._retain(v_item.name, v_place);
      commit;
      exit when not qctl._before(v_deadline, v_place);
    end loop;
    exit when v_place.after is not null;
  end loop;
  -- After the messages, whose attempts it deletes.
  perform qctl._upkeep_mark('forget_log');
  commit;
  while qctl._do_upkeep_step('forget_log') and pg_catalog.clock_timestamp() operator(pg_catalog.<) v_deadline loop
    commit;
  end loop;
  perform qctl._retention_done(v_place);
  commit;
end
$$;
comment on procedure qctl.maintenance(interval) is
  'Collects answers of pg_net that no job collects, does the steps of qctl._upkeep_steps(), and deletes messages older than the retention. Run it every minute. p_for: the time limit for deleting.';
