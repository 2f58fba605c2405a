-- Roll up: adds the attempts of each minute to qctl.throughput.

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
