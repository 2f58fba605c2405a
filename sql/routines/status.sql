-- What stands in the queues now.

create or replace function qctl.depth(p_queue text default null)
returns table (queue_name text, depth bigint, ready bigint, delayed bigint, in_flight bigint, retrying bigint, dead bigint)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  for v_queue in select * from qctl.queue q where p_queue is null or q.queue_name = p_queue order by q.queue_name loop
    continue when to_regclass(format('pgmq.%I', 'q_' || v_queue.queue_name)) is null;
    queue_name := v_queue.queue_name;
    execute format($q$
      select count(*), count(*) filter (where f.msg_id is null and q.vt <= $2),
             count(*) filter (where f.msg_id is null and q.vt > $2 and r.msg_id is null),
             count(f.msg_id), count(*) filter (where f.msg_id is null and q.vt > $2 and r.msg_id is not null)
      from pgmq.%I q
      left join qctl.in_flight f on f.queue_id = $1 and f.msg_id = q.msg_id and f.lapsed_at is null
      left join qctl.retry r on r.queue_id = $1 and r.msg_id = q.msg_id and r.enqueued_at = q.enqueued_at
    $q$, 'q_' || v_queue.queue_name)
    into depth, ready, delayed, in_flight, retrying using v_queue.queue_id, clock_timestamp();
    select count(*) into dead from qctl.dead_letter d where d.queue_id = v_queue.queue_id;
    return next;
  end loop;
end
$$;
comment on function qctl.depth(text) is 'Unfinished messages by state, and dead letters.';

create or replace function qctl.lag(p_queue text default null)
returns table (queue_name text, lag_s double precision, age_s double precision)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue;
begin
  if p_queue is not null then
    perform qctl._queue(p_queue);
  end if;
  for v_queue in select * from qctl.queue q where p_queue is null or q.queue_name = p_queue order by q.queue_name loop
    continue when to_regclass(format('pgmq.%I', 'q_' || v_queue.queue_name)) is null;
    queue_name := v_queue.queue_name;
    -- Ids rise with enqueued_at, so the oldest stands among the first ids; delayed ones before it are passed over.
    execute format($q$
      select extract(epoch from $2 - (
               select greatest(q.vt, q.enqueued_at) from pgmq.%1$I q
               where q.vt <= $2 and isfinite(q.enqueued_at) order by q.vt limit 1)),
             extract(epoch from $2 - (
               select min(coalesce(r.replayed_at, q.enqueued_at))
               from (select * from pgmq.%1$I q where isfinite(q.enqueued_at) order by q.msg_id limit 1000) q
               left join lateral (select * from qctl.retry r
                                  where r.queue_id = $1 and r.msg_id = q.msg_id and r.enqueued_at = q.enqueued_at limit 1) r on true
               where q.vt <= $2 or r.msg_id is not null
                  or exists (select from qctl.in_flight f where f.queue_id = $1 and f.msg_id = q.msg_id)))
    $q$, 'q_' || v_queue.queue_name) into lag_s, age_s using v_queue.queue_id, clock_timestamp();
    return next;
  end loop;
end
$$;
comment on function qctl.lag(text) is
  'lag_s: how long the oldest ready message has waited for a worker; age_s: how old the oldest unfinished, not delayed one is.';

create or replace function qctl.health(p_queue_id integer) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when not qctl.is_armed() then 'unarmed'
    when g.paused_at is not null then 'paused'
    when not exists (select from qctl.worker w where w.stopped_at is null and q.queue_name = any (w.queues)
                     and w.transport = q.transport
                     and w.last_seen_at > clock_timestamp() - case w.transport when 'http' then interval '30 s' else '90 s' end)
      then 'no_worker'
    when q.transport = 'pg_net' and (select s.net_held_since from qctl.scheduler s) is not null then 'paused'
    when q.transport = 'pg_net' and qctl._net_relation('http_request_queue') is null then 'no_worker'
    when q.transport = 'pg_net' and g.net_hold_until is not null then 'endpoint_failing'
    when exists (select from qctl.attempt t where t.queue_id = q.queue_id and t.outcome <> 'delivered'
                 and t.outcome in ('retrying', 'dead') and t.settled_at > clock_timestamp() - interval '1 minute')
     and not exists (select from qctl.attempt t where t.queue_id = q.queue_id and t.outcome = 'delivered'
                     and t.settled_at > clock_timestamp() - interval '1 minute') then 'endpoint_failing'
    else 'ok' end
  from qctl.queue q join qctl.gate g using (queue_id) where q.queue_id = p_queue_id
$$;
comment on function qctl.health(integer) is 'The first that holds of: unarmed, paused (also while pg_net stands still), no_worker, endpoint_failing, ok.';
