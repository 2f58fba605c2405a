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
         percentile_cont(0.5) within group (order by extract(epoch from a.settled_at - a.claimed_at) * 1000)
           filter (where a.outcome = 'delivered'),
         percentile_cont(0.95) within group (order by extract(epoch from a.settled_at - a.claimed_at) * 1000)
           filter (where a.outcome = 'delivered')
  from qctl.queue q
  join qctl.attempt a on a.queue_id = q.queue_id and a.settled_at >= v_from and a.settled_at < v_to
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
  from qctl.queue q,
       qctl._purge(p_queue, make_interval(secs => q.retention_s), coalesce(p_place.after, '-infinity'), coalesce(p_place.after_id, 0), 5000) p
  where q.queue_name = p_queue and q.retention_s is not null;
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

-- A SET clause would forbid COMMIT, so this procedure has none and qualifies every name.
create or replace procedure qctl.maintenance(p_for interval default '50 s')
language plpgsql
as $$
declare
  v_deadline pg_catalog.timestamptz := qctl._maintenance_deadline(p_for);
  v_place qctl.purge_place;
  v_queue pg_catalog.record;
begin
  for v_queue in select c.id from qctl._queues_to_collect() as c (id) loop
    perform qctl._work_review(v_queue.id);
    commit;
  end loop;
  perform qctl.upkeep();
  commit;
  perform qctl._roll_up();
  commit;
  perform qctl._take_samples();
  commit;
  perform qctl._forget_dedup_keys();
  perform qctl._sweep_order();
  commit;
  perform qctl._release_all_held();
  commit;
  for v_queue in select r.name from qctl._due_retention() as r (name) loop
    v_place := null;
    loop
      v_place := qctl._retain(v_queue.name, v_place);
      commit;
      exit when not qctl._before(v_deadline, v_place);
    end loop;
    exit when v_place.after is not null;
  end loop;
  while qctl._retain_log() operator(pg_catalog.>) 0 and pg_catalog.clock_timestamp() operator(pg_catalog.<) v_deadline loop
    commit;
  end loop;
  commit;
  perform qctl._retention_done(v_place);
  perform qctl._sweep();
  commit;
  -- What a person switched off stays off.
  perform qctl._plan_jobs(false) where qctl._owns_jobs();
  commit;
end
$$;
comment on procedure qctl.maintenance(interval) is
  'Collects answers of pg_net that no job collects, lapses leases, rolls up throughput, queues held events, deletes messages older than the retention, and '
  'deletes the old history of qctl''s jobs. Run it every minute. p_for: the time limit for deleting.';
