-- Waking: a sleeping worker holds the advisory lock (1902343276, queue_id) of each of its queues. A writer that gets the lock shared
-- does not notify, because no worker sleeps; otherwise it notifies. 1902343276 is 'qctl' in ASCII. Where two-phase commit is enabled,
-- workers only poll, because PostgreSQL cannot prepare a transaction that has notified.

create or replace function qctl._notify(p_queue_id integer) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('max_prepared_transactions') = '0' and not pg_try_advisory_xact_lock_shared(qctl._lock_space('sleeper'), p_queue_id) then
    perform pg_notify('qctl', p_queue_id::text);
  end if;
end
$$;

create or replace function qctl.fall_asleep(p_queues text[])
returns table (queue_id integer, queue_name text, asleep boolean)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select q.queue_id, q.queue_name, pg_try_advisory_lock(qctl._lock_space('sleeper'), q.queue_id)
  from qctl.queue q where q.queue_name = any (p_queues)
$$;
comment on function qctl.fall_asleep(text[]) is
  'Takes the sleeper lock of each queue that has no active writer. The worker then looks for work once more before it listens.';

create or replace function qctl.wake_up(p_queue_ids integer[]) returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select count(pg_advisory_unlock(qctl._lock_space('sleeper'), id)) from unnest(p_queue_ids) as id
$$;

create or replace function qctl.ready_queues(p_queues text[]) returns setof text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
declare
  v_name text;
  v_queue_id integer;
  v_opened_at timestamptz;
  v_recall_after bigint;
  v_ready boolean;
begin
  if not qctl.is_armed() then
    return;
  end if;
  for v_name, v_queue_id, v_opened_at, v_recall_after in
    select q.queue_name, g.queue_id, g.opened_at, g.recall_after from qctl.queue q join qctl.gate g using (queue_id)
    where q.queue_name = any (p_queues) and g.paused_at is null
      and (g.opened_at is null
           or qctl._is_due(g.probe_at, clock_timestamp(), qctl._longest_pause(q))
              and (g.probe_lease is null or qctl._is_due(g.probe_ends, clock_timestamp(), make_interval(secs => q.timeout_ms / 1000.0) + interval '120 s')))
  loop
    begin
      -- From the beginning and not from the front, because workers end or fall asleep by this answer.
      execute format('select exists (select from pgmq.%I q where q.vt <= $1 order by q.vt limit 1)', 'q_' || v_name)
        into v_ready using clock_timestamp();
      -- A probe, and messages recalled after an outage, are sent before they are due.
      if v_ready or v_opened_at is not null and exists (select from qctl.retry r where r.queue_id = v_queue_id and r.attempts > 0)
         or v_recall_after is not null and exists (select from qctl.retry r where r.queue_id = v_queue_id and r.msg_id > v_recall_after) then
        return next v_name;
      end if;
    exception when undefined_table or lock_not_available or insufficient_privilege then
      perform qctl._audit_rarely('look_failed', v_name, sqlstate, sqlerrm);
    end;
  end loop;
end
$$;
comment on function qctl.ready_queues(text[]) is
  'Those of these queues that are not paused and have a ready message; none if the database is not armed.';
