-- Arming: allows this database to deliver, and no copy of it.

create or replace function qctl._timeline() returns integer
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if pg_is_in_recovery() then
    return (select c.timeline_id from pg_control_checkpoint() c);
  end if;
  return ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer;
end
$$;
comment on function qctl._timeline() is
  'The current WAL timeline. After a promotion pg_control names the old one until the first checkpoint.';

create or replace function qctl.is_armed() returns boolean
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from qctl.arming a
    where a.system_identifier = (select c.system_identifier from pg_control_system() c)
      and a.database_oid = (select d.oid from pg_database d where d.datname = current_database())
      and (a.survive_failover or a.timeline = qctl._timeline()));
end
$$;
comment on function qctl.is_armed() is 'True if this database may deliver. False in a copy: another cluster, database or timeline.';

create or replace function qctl.arm(p_survive_failover boolean default null)
returns table (armed boolean, changed boolean, database text, system_identifier text, timeline integer, survive_failover boolean,
               armed_at timestamptz, armed_by text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_was boolean := qctl.is_armed();
  v_survive boolean := coalesce(p_survive_failover, (select a.survive_failover from qctl.arming a), false);
  v_changed boolean;
begin
  if pg_is_in_recovery() then
    raise exception 'a standby cannot be armed because it cannot deliver'
      using errcode = 'QC004', hint = 'run qctl arm on the primary, or here after a promotion';
  end if;
  v_changed := not v_was or v_survive is distinct from (select a.survive_failover from qctl.arming a);
  if v_changed then
    insert into qctl.arming as a (system_identifier, database_oid, timeline, survive_failover)
    select c.system_identifier, d.oid, qctl._timeline(), v_survive
    from pg_control_system() c, pg_database d where d.datname = current_database()
    on conflict (one) do update
      set (system_identifier, database_oid, timeline, survive_failover, armed_at, armed_by)
        = (excluded.system_identifier, excluded.database_oid, excluded.timeline, excluded.survive_failover,
           excluded.armed_at, excluded.armed_by);
    perform qctl._audit('arm', null, jsonb_build_object('was_armed', v_was, 'survive_failover', v_survive));
    if not v_was then
      update qctl.gate set slow_limit = qctl._slow_start();
    end if;
    perform qctl._notify(q.queue_id) from qctl.queue q;
  end if;
  return query
  select true, v_changed, current_database()::text, a.system_identifier::text, a.timeline, a.survive_failover, a.armed_at, a.armed_by
  from qctl.arming a;
end
$$;
comment on function qctl.arm(boolean) is
  'Allows this database to deliver. p_survive_failover: also after one of its standbys is promoted; null leaves that setting unchanged.';

create or replace function qctl.arming_state() returns table (armed boolean, is_copy boolean, state text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select c.armed, not c.armed and a.database_oid <> 0,
         case when c.armed then 'it delivers' when a.database_oid = 0 then 'it was disarmed' when a.database_oid is null then 'it was never armed'
              else format('it is a copy of the one that was armed on %s', qctl._shown_time(a.armed_at)) end
  from (select qctl.is_armed() as armed) c left join qctl.arming a on true
$$;
comment on function qctl.arming_state() is 'Is this database armed, or a copy of the one that is?';

create or replace function qctl.would_send() returns table (queue_name text, url text, waiting bigint, paused boolean)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue record;
begin
  for v_queue in
    select q.queue_name, q.url, g.paused_at is not null as paused from qctl.queue q left join qctl.gate g using (queue_id) order by q.queue_name
  loop
    queue_name := v_queue.queue_name;
    url := v_queue.url;
    paused := v_queue.paused;
    waiting := null;
    if to_regclass(format('pgmq.%I', 'q_' || v_queue.queue_name)) is not null then
      execute format('select count(*) from pgmq.%I', 'q_' || v_queue.queue_name) into waiting;
    end if;
    return next;
  end loop;
end
$$;
comment on function qctl.would_send() is 'The unfinished messages of each queue and its endpoint: what an armed database sends. waiting is null if pgmq''s table is gone.';

create or replace function qctl.disarm()
returns table (armed boolean, changed boolean, database text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_was boolean := qctl.is_armed();
begin
  -- No database has oid 0. The row stays because it keeps survive_failover.
  update qctl.arming set database_oid = 0;
  if v_was then
    perform qctl._emit('database.disarmed', null, jsonb_build_object('by', session_user));
    perform qctl._audit('disarm', null, jsonb_build_object('was_armed', v_was));
  end if;
  return query select false, v_was, current_database()::text;
end
$$;
comment on function qctl.disarm() is 'Stops claiming on every transport. Messages in flight still settle, and capture continues.';
