-- Roll up: adds the attempts of each minute to qctl.throughput and to qctl.attempt_total.

create or replace function qctl._duration_bounds_ms() returns integer[]
language sql immutable parallel safe
return '{5,10,25,50,100,250,500,1000,2500,5000,10000,30000,60000}'::integer[];
comment on function qctl._duration_bounds_ms() is 'The upper bounds, inclusive, by which attempts are counted in the histogram of their duration.';

create or replace function qctl._bucket(p_duration_ms integer) returns integer
language sql immutable parallel safe
return case when p_duration_ms is null then -1
            -- A bound belongs to the bucket below it.
            else width_bucket(p_duration_ms - 1, qctl._duration_bounds_ms()) end;

create or replace function qctl._add_up(p_to timestamptz) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  c_step constant interval := '1 day';
  v_from timestamptz;
  v_to timestamptz;
begin
  if (select u.totalled_to from qctl.upkept u) >= p_to then
    return;
  end if;
  select u.totalled_to into v_from from qctl.upkept u for update;
  while v_from < p_to loop
    v_to := least(p_to, v_from + c_step);
    insert into qctl.attempt_total as t (queue_id, outcome, status_code, bucket, attempts, took_ms)
    select a.queue_id, a.outcome, coalesce(a.status_code, 0), qctl._bucket(a.duration_ms), sum(a.stands_for), coalesce(sum(a.duration_ms::bigint * a.stands_for), 0)
    from qctl.queue q
    join qctl.attempt a on a.queue_id = q.queue_id and a.settled_at >= v_from and a.settled_at < v_to and a.outcome <> 'lost'
    group by 1, 2, 3, 4
    union all
    select f.queue_id, 'lost', 0, -1, count(*), 0 from qctl.in_flight f where f.lapsed_at >= v_from and f.lapsed_at < v_to group by 1
    on conflict (queue_id, outcome, status_code, bucket) do update
      set (attempts, took_ms) = (t.attempts + excluded.attempts, t.took_ms + excluded.took_ms);
    v_from := v_to;
  end loop;
  update qctl.upkept u set totalled_to = v_from where u.totalled_to < v_from;
end
$$;
comment on function qctl._add_up(timestamptz) is
  'Adds the attempts that were settled before p_to to qctl.attempt_total, each once. What deletes attempts calls it first.';

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
         coalesce(sum(a.stands_for) filter (where a.outcome = 'delivered'), 0), count(*) filter (where a.outcome in ('retrying', 'paused')),
         count(*) filter (where a.outcome = 'dead'), count(*) filter (where a.outcome = 'lost'),
         percentile_cont(0.5) within group (order by a.took_ms) filter (where a.outcome = 'delivered'),
         percentile_cont(0.95) within group (order by a.took_ms) filter (where a.outcome = 'delivered')
  from (select a.queue_id, a.settled_at, a.outcome, a.stands_for,
               least(extract(epoch from a.settled_at - a.claimed_at) * 1000, 2147483647)::double precision as took_ms
        from qctl.queue q
        join qctl.attempt a on a.queue_id = q.queue_id and a.settled_at >= v_from and a.settled_at < v_to and a.outcome <> 'lost'
        union all
        -- The log tells of a lost attempt a day later, when its answer cannot come any more.
        select f.queue_id, f.lapsed_at, 'lost', 1, null from qctl.in_flight f where f.lapsed_at >= v_from and f.lapsed_at < v_to) a
  group by 1, 2
  on conflict (queue_id, minute) do update
    set (delivered, failed, dead, lost, p50_ms, p95_ms)
      = (excluded.delivered, excluded.failed, excluded.dead, excluded.lost, excluded.p50_ms, excluded.p95_ms);
  get diagnostics v_count = row_count;
  update qctl.upkept u set rolled_to = v_to;
  -- A transaction that has settled attempts may commit later than they say; one that stays open holds this up for ten minutes at most.
  perform qctl._add_up(greatest(least(clock_timestamp() - interval '30 s', qctl.settled_until()), clock_timestamp() - interval '10 min'));
  return v_count;
end
$$;
comment on function qctl._roll_up() is 'Adds the complete minutes to qctl.throughput and qctl.attempt_total.';

create or replace function qctl.attempt_totals()
returns table (queue_name text, outcome text, status_code integer, up_to_s double precision, attempts bigint, took_s double precision)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
#variable_conflict use_column
begin
  -- One statement, so that what is rolled up meanwhile is counted neither twice nor not at all.
  return query
  with rolled as (select u.totalled_to as until from qctl.upkept u), part as (
    select t.queue_id, t.outcome, t.status_code, t.bucket, t.attempts, t.took_ms from qctl.attempt_total t
    union all
    select a.queue_id, a.outcome, coalesce(a.status_code, 0), qctl._bucket(a.duration_ms), sum(a.stands_for), coalesce(sum(a.duration_ms::bigint * a.stands_for), 0)
    from rolled r cross join qctl.queue q
    join qctl.attempt a on a.queue_id = q.queue_id and a.settled_at >= r.until and a.outcome <> 'lost'
    group by 1, 2, 3, 4
  )
  select q.queue_name, p.outcome, nullif(p.status_code, 0),
         case when p.bucket >= 0 then coalesce(((qctl._duration_bounds_ms())[p.bucket + 1])::double precision / 1000, 'infinity') end,
         sum(p.attempts)::bigint, sum(p.took_ms)::double precision / 1000
  from part p join qctl.queue q using (queue_id)
  group by q.queue_name, p.outcome, p.status_code, p.bucket;
end
$$;
comment on function qctl.attempt_totals() is
  'Attempts settled since each queue was made or qctl was upgraded to 0.7.0: they only grow, whatever is purged. One row for each outcome, status (null: no answer) and '
  'duration: up_to_s is the inclusive upper bound, null where the duration was not measured. A lost attempt counts once the maintenance has seen it.';
