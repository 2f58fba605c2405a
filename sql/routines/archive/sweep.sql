-- Sweep: deletes old statistics, the remains of dropped queues, and old records of qctl's jobs.

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
  delete from qctl.attempt_total t where not exists (select from qctl.queue q where q.queue_id = t.queue_id);
  delete from qctl.edge_wake k where k.sent_at < clock_timestamp() - interval '35 days';
  perform qctl._sweep_dropped();
  if qctl._cron_here() then
    -- A run that a crash ended has no end time and may have no start time; its age then follows from its run id.
    delete from cron.job_run_details d
    where d.database = current_database()::text and d.command ~ '^(call qctl\.(work|maintenance)\(|select qctl\.wake_edge\()'
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
