-- Cause growing: messages become ready faster than they are sent.

create or replace function qctl._oldest_transaction() returns table (pid integer, role_name text, state text, since timestamptz)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select a.pid, a.usename::text, a.state, a.xact_start from pg_stat_activity a
  where a.xact_start is not null and a.backend_xmin is not null and a.backend_type <> 'autovacuum worker'
    and (a.datname = current_database() or a.backend_type = 'walsender')
  order by age(a.backend_xmin) desc, a.xact_start limit 1
$$;
comment on function qctl._oldest_transaction() is
  'The session that prevents vacuum from removing dead rows. Columns that this role may not see are null.';

create or replace function qctl._cause_growing(p_queue qctl.queue) returns setof qctl.cause
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  c_lag_s constant double precision := 60;
  c_drain_s constant double precision := 3600;
  c_dead_rows constant bigint := 50000;
  v_cause qctl.cause;
  v_lag_s double precision;
  v_growth record;
  v_capacity record;
  v_dead_rows bigint;
  v_old record;
begin
  v_cause.cause := 'growing';
  -- Throughput says nothing where nobody works.
  if p_queue.transport = 'http' and exists (select from qctl.edge_function)
     and not exists (select from qctl.worker w where w.transport = 'http' and p_queue.queue_name = any (w.queues) and qctl._is_live(w)) then
    return;
  end if;
  v_lag_s := (select l.lag_s from qctl.lag(p_queue.queue_name) l);
  if v_lag_s > c_lag_s then
    select * into v_growth from qctl.growth(p_queue.queue_name);
    if coalesce(v_growth.per_s, 0) >= 0 or v_growth.drain_s > c_drain_s then
      select * into v_capacity from qctl.capacity(p_queue.queue_name);
      v_cause.since := clock_timestamp() - make_interval(secs => v_lag_s);
      v_cause.reason := format('ready messages wait %s s, the queue %s, and its throughput is limited to %s/s by %s', round(v_lag_s),
        case when v_growth.drain_s is null then 'does not drain'
             else format('will not be empty for %s', make_interval(secs => round(v_growth.drain_s))) end,
        round(v_capacity.ceiling_per_s::numeric, 1), v_capacity.limited_by);
      if v_capacity.ceiling_per_s is null then
        v_cause.reason := format('ready messages wait %s s, and the throughput is %s', round(v_lag_s), v_capacity.limited_by) || qctl._shown_by(p_queue.queue_id);
        return next v_cause;
        return;
      end if;
      v_cause.fix := case
        when v_capacity.limited_by like 'its rate%' then format('qctl set -q %s --rate none', p_queue.queue_name)
        when v_capacity.limited_by like 'max_in_flight%' then format('qctl scale -q %s --max-in-flight %s', p_queue.queue_name, least(p_queue.max_in_flight * 4, 100000))
        when p_queue.transport = 'http' then format('qctl scale -q %s --concurrency %s', p_queue.queue_name, least(p_queue.concurrency * 4, 10000))
        when v_capacity.limited_by like 'pg_net.batch_size%' then format('qctl set -q %s --transport http && qctl worker -q %s', p_queue.queue_name, p_queue.queue_name)
        else format('qctl scale -q %s --batch %s', p_queue.queue_name, least(p_queue.batch * 2, 10000)) end;
      return next v_cause;
      return;
    end if;
  end if;
  v_dead_rows := (select sum(pg_stat_get_dead_tuples(t.oid))
                  from (values (to_regclass(format('pgmq.%I', 'q_' || p_queue.queue_name))::oid)) as t (oid));
  if v_dead_rows > c_dead_rows then
    select * into v_old from qctl._oldest_transaction();
    if v_old.since < clock_timestamp() - coalesce(qctl._setting('qctl.old_transaction')::interval, '15 min') then
      v_cause.since := v_old.since;
      v_cause.reason := format('its table has %s dead rows that vacuum cannot remove because pid %s (role %s, %s) keeps a transaction open',
                               v_dead_rows, v_old.pid, v_old.role_name, v_old.state);
      v_cause.fix := format('select pg_terminate_backend(%s);', v_old.pid);
      return next v_cause;
    end if;
  end if;
end
$$;
comment on function qctl._cause_growing(qctl.queue) is
  'The cause that messages become ready faster than they are sent, or that dead rows accumulate behind a transaction older than 15 min '
  '(setting qctl.old_transaction). A deep queue that drains within an hour is healthy.';
