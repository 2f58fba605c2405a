-- Throughput: the attempts of the last minutes by outcome, and how long deliveries took.

create or replace function qctl._counts(p_queue_id integer, p_since timestamptz)
returns table (delivered bigint, failed bigint, dead bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_rolled_to timestamptz := greatest(p_since, (select u.rolled_to from qctl.upkept u));
begin
  -- Complete minutes are read from qctl.throughput, the rest from the attempt log.
  return query
  select coalesce(sum(p.delivered), 0)::bigint, coalesce(sum(p.failed), 0)::bigint, coalesce(sum(p.dead), 0)::bigint
  from (
    select sum(t.delivered) as delivered, sum(t.failed + t.dead + t.lost) as failed, sum(t.dead) as dead
    from qctl.throughput t
    where t.queue_id = p_queue_id and t.minute >= date_trunc('minute', p_since) and t.minute < v_rolled_to
    union all
    select sum(t.stands_for) filter (where t.outcome = 'delivered'), count(*) filter (where t.outcome <> 'delivered'),
           count(*) filter (where t.outcome = 'dead')
    from qctl.attempt t where t.queue_id = p_queue_id and t.settled_at >= v_rolled_to and t.outcome <> 'late'
  ) p;
end
$$;
comment on function qctl._counts(integer, timestamptz) is
  'Attempts since p_since, rounded to the minute: delivered, failed (including dead and lost), dead. Late answers are not counted.';

create or replace function qctl._durations(p_queue_name text)
returns table (p50_s double precision, p95_s double precision, measured bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  return query execute format($q$
    select percentile_cont(0.5) within group (order by a.s), percentile_cont(0.95) within group (order by a.s), count(*)
    from (select extract(epoch from a.archived_at - a.enqueued_at)::double precision as s
          from (select * from pgmq.%I a where a.archived_at > statement_timestamp() - interval '1 h' order by a.archived_at desc limit 5000) a
          where a.headers #>> '{qctl,outcome}' = 'delivered' and coalesce(a.headers #>> '{qctl,delivery_no}', '1') = '1' and isfinite(a.enqueued_at)
          order by a.archived_at desc limit 1000) a
  $q$, 'a_' || p_queue_name);
end
$$;
comment on function qctl._durations(text) is
  'Seconds from enqueued to delivered for the last 1,000 messages delivered without a replay, among the newest 5,000 of the last hour.';

create or replace function qctl._last_delivered(p_queue_name text) returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_at timestamptz;
begin
  -- The limit keeps the cost flat if other programs archived many messages since.
  execute format($q$
    select max(a.archived_at) filter (where a.ours)
    from (select a.archived_at, a.headers #>> '{qctl,outcome}' = 'delivered' as ours from pgmq.%I a
          order by a.archived_at desc limit 1000) a
  $q$, 'a_' || p_queue_name) into v_at;
  return v_at;
end
$$;
comment on function qctl._last_delivered(text) is
  'When the last message was delivered; null if none of the last 1,000 archived messages was delivered by qctl.';

create or replace function qctl.rates(p_queue text)
returns table (delivered_1m bigint, failed_1m bigint, dead_1m bigint, delivered_1h bigint, failed_1h bigint, dead_1h bigint,
               p50_s double precision, p95_s double precision, last_delivered_at timestamptz, last_failed_at timestamptz, last_error text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  select coalesce(sum(t.stands_for) filter (where t.outcome = 'delivered'), 0), count(*) filter (where t.outcome <> 'delivered'),
         count(*) filter (where t.outcome = 'dead')
  into delivered_1m, failed_1m, dead_1m
  from qctl.attempt t
  where t.queue_id = v_queue.queue_id and t.settled_at > statement_timestamp() - interval '1 minute' and t.outcome <> 'late';
  select c.delivered, c.failed, c.dead into delivered_1h, failed_1h, dead_1h
  from qctl._counts(v_queue.queue_id, statement_timestamp() - interval '1 h') c;
  if not qctl._is_hidden(to_regclass(format('pgmq.%I', 'a_' || p_queue))) then
    select d.p50_s, d.p95_s into p50_s, p95_s from qctl._durations(p_queue) d;
    last_delivered_at := qctl._last_delivered(p_queue);
  end if;
  if not v_queue.archive then
    select t.settled_at into last_delivered_at from qctl.attempt t where t.queue_id = v_queue.queue_id and t.outcome = 'delivered'
    order by t.settled_at desc limit 1;
  end if;
  select t.settled_at, coalesce(t.error, 'HTTP ' || t.status_code, 'no answer') into last_failed_at, last_error
  from qctl.attempt t
  where t.queue_id = v_queue.queue_id and t.settled_at > statement_timestamp() - interval '24 h'
    and t.outcome <> 'delivered' and t.outcome <> 'late'
  order by t.settled_at desc limit 1;
  return next;
end
$$;
comment on function qctl.rates(text) is
  'Attempts of the last minute and hour by outcome (failed: every attempt that did not deliver, including dead); p50 and p95 of the time '
  'from enqueued to delivered; the last delivery, and the last failure within a day.';

create or replace function qctl.settled_until() returns timestamptz
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select case when pg_has_role('pg_read_all_stats', 'usage')
              then least(clock_timestamp(), min(a.xact_start) filter (where a.backend_xid is not null)) end
  from pg_stat_activity a where a.datname = current_database()
$$;
comment on function qctl.settled_until() is
  'The start of the oldest writing transaction: all attempts settled before it are committed, to within a second. '
  'Null if the role that installed qctl may not see the transactions of other roles.';
