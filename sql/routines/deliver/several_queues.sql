-- Several queues at once: what costs the same for one queue as for ten (the call, arming, gates, leases, the log, the commit) is done once
-- for all. Only for queues of which nothing more need be asked; qctl.claim and qctl.settle do the others, one queue at a time.

create or replace function qctl.claim_queues(p_queues text[], p_limits integer[], p_max_bytes bigint[], p_worker_id bigint default null)
returns table (queue_name text, msg_id bigint, lease uuid, lease_ms integer, delivery_no integer, attempt_no integer,
               url text, timeout_ms integer, headers jsonb, body text)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_gates integer[];
  v_now timestamptz;
  v_queues qctl.queue[];
  v_ids integer[];
  v_rooms integer[];
  v_bytes bigint[];
  v_hide_until timestamptz[];
  v_from timestamptz[];
  v_alone text[];
  v_picked record;
begin
  if not qctl.is_armed() then
    return;
  end if;
  -- Waits for no gate, because whoever waits while it holds others may meet somebody who waits the other way round.
  select array_agg(l.queue_id) into v_gates
  from (select g.queue_id from qctl.queue q join qctl.gate g using (queue_id)
        where q.queue_name = any (p_queues) order by g.queue_id for update of g skip locked) l;
  v_now := clock_timestamp();
  -- Read under the locks, because settings may have changed.
  select array_agg(s.q order by s.id) filter (where s.room > 0), array_agg(s.id order by s.id) filter (where s.room > 0),
         array_agg(s.room order by s.id) filter (where s.room > 0), array_agg(s.max_bytes order by s.id) filter (where s.room > 0),
         array_agg(v_now + qctl._lease_term((s.q).timeout_ms, 'http') + interval '60 s' order by s.id) filter (where s.room > 0),
         array_agg(qctl._ready_from(s.id, v_now) order by s.id) filter (where s.room > 0),
         array_agg(s.name) filter (where not s.plain)
  into v_queues, v_ids, v_rooms, v_bytes, v_hide_until, v_from, v_alone
  from (
    select a.name, q.queue_id as id, q, p.plain, least(a.max_bytes, qctl._most_bytes()) as max_bytes,
           case when p.plain and g.paused_at is null then least(coalesce(a.most, 0), q.max_in_flight - qctl._live_leases(q, v_now)) end as room
    from (select distinct on (u.name) u.* from unnest(p_queues, p_limits, p_max_bytes) as u (name, most, max_bytes) order by u.name) a
    left join qctl.queue q on q.queue_name = a.name and q.queue_id = any (v_gates)
    left join qctl.gate g on g.queue_id = q.queue_id
    cross join lateral (
      select coalesce(q.transport = 'http' and q.url ~* '^https?:' and not q.ordered and q.rate_per_s is null
                      and g.opened_at is null and g.recall_after is null and g.slow_limit is null
                      and qctl._has_queue_functions(q.queue_uuid)
                      and not (q.headers::text ~ '"(secret|vault):' and qctl._missing_of(q) is not null), false) as plain) p
  ) s;
  if v_ids is not null then
    execute (
      select 'select array_agg(p.n) as n, array_agg(u.id) as ids, array_agg(u.queued_at) as times, array_agg(u.headers) as headers, array_agg(u.body) as bodies from ('
             || string_agg(format('select %1$s as n, p.* from %2$s($1[%1$s], $2, $3[%1$s], $4[%1$s], $5[%1$s], $6[%1$s]) p',
                                  n, qctl._queue_function('pick', v_queues[n].queue_uuid)), ' union all ' order by n)
             || ') p cross join lateral unnest(p.ids, p.times, p.headers, p.bodies) as u (id, queued_at, headers, body)'
      from generate_subscripts(v_ids, 1) n)
    into v_picked using v_ids, v_now, v_rooms, v_hide_until, v_bytes, v_from;
    if v_picked.ids is not null then
      return query
      select l.* from qctl._lease(v_queues, array(select gen_random_uuid() from unnest(v_ids)), v_now, p_worker_id,
                                  v_picked.n, v_picked.ids, v_picked.times, v_picked.headers, v_picked.bodies) l;
    end if;
  end if;
  return query select a, null::bigint, null::uuid, null::integer, null::integer, null::integer, null::text, null::integer, null::jsonb, null::text
               from unnest(v_alone) a;
end
$$;
comment on function qctl.claim_queues(text[], integer[], bigint[], bigint) is
  'As qctl.claim for each of these queues, in one transaction. A row that has only a queue''s name says that nothing was claimed from that '
  'queue and that qctl.claim must be asked: it is ordered, has a rate, is recovering, is being claimed from, and so on. An error claims nothing.';

create or replace function qctl.settle_queues(
  p_queues text[], p_lease uuid[], p_msg_id bigint[], p_status integer[], p_response bytea[], p_duration_ms integer[])
returns table (queue_name text, lease uuid, msg_id bigint)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_names text[];
  v_queue_ids integer[];
  v_uuids uuid[];
  v_logs text[];
  v_first integer[];
  v_last integer[];
  v_of integer[];
  v_lease uuid[];
  v_ids bigint[];
  v_times timestamptz[];
  v_places tid[];
  v_status integer[];
  v_response bytea[];
  v_duration_ms integer[];
  v_at timestamptz;
  v_closed bigint;
  v_archived bigint;
begin
  -- Where the breaker has nothing to note of a success.
  select array_agg(s.name order by s.queue_id), array_agg(s.queue_id order by s.queue_id), array_agg(s.queue_uuid order by s.queue_id),
         array_agg(s.log order by s.queue_id), array_agg(s.last - s.count + 1 order by s.queue_id), array_agg(s.last order by s.queue_id)
  into v_names, v_queue_ids, v_uuids, v_logs, v_first, v_last
  from (
    select a.name, q.queue_id, q.queue_uuid, q.log, a.count, sum(a.count) over (order by q.queue_id)::integer as last
    from (select u as name, count(*)::integer as count from unnest(p_queues) u group by u) a
    join qctl.queue q on q.queue_name = a.name join qctl.gate g using (queue_id)
    where q.archive and not q.ordered and q.expect_text is null and q.expect_json is null and q.url ~* '^https?:'
      and g.opened_at is null and g.failures = 0 and g.window_at is null and g.slow_limit is null and qctl._has_queue_functions(q.queue_uuid)
  ) s;
  if v_names is null then
    return;
  end if;
  select array_agg(a.lease order by k.place, a.msg_id), array_agg(a.msg_id order by k.place, a.msg_id), array_agg(a.status order by k.place, a.msg_id),
         array_agg(a.response order by k.place, a.msg_id), array_agg(a.duration_ms order by k.place, a.msg_id)
  into v_lease, v_ids, v_status, v_response, v_duration_ms
  from unnest(p_queues, p_lease, p_msg_id, p_status, p_response, p_duration_ms) as a (name, lease, msg_id, status, response, duration_ms)
  join unnest(v_names) with ordinality as k (name, place) using (name);
  -- In order of queue and message, so that two settlers of overlapping batches lock the messages in the same order.
  execute (
    select 'select array_agg(x.place), array_agg(u.lease), array_agg(u.id), array_agg(u.queued_at), array_agg(u.queued), array_agg(u.status), '
           'array_agg(u.response), array_agg(u.duration_ms) from ('
           || string_agg(format('select %1$s as place, l.* from %2$s($1[%3$s:%4$s], $2[%3$s:%4$s], $3[%3$s:%4$s], $4[%3$s:%4$s], $5[%3$s:%4$s]) l',
                                n, qctl._queue_function('lock', v_uuids[n]), v_first[n], v_last[n]), ' union all ' order by n)
           || ') x cross join lateral unnest(x.leases, x.ids, x.times, x.places, x.statuses, x.responses, x.durations_ms) '
              'as u (lease, id, queued_at, queued, status, response, duration_ms)'
    from generate_subscripts(v_names, 1) n)
  into v_of, v_lease, v_ids, v_times, v_places, v_status, v_response, v_duration_ms
  using v_lease, v_ids, v_status, v_response, v_duration_ms;
  v_at := clock_timestamp();
  -- As in qctl._settle_simple.
  with tried as materialized (
    select a.queue, a.msg_id, a.lease, a.status, a.response, a.duration_ms, a.queued, v_queue_ids[a.queue] as queue_id, v_logs[a.queue] as log,
           f.place, f.worker_id, f.transport, f.claimed_at
    from unnest(v_of, v_lease, v_ids, v_times, v_places, v_status, v_response, v_duration_ms)
      as a (queue, lease, msg_id, enqueued_at, queued, status, response, duration_ms)
    cross join lateral (
      select f.ctid as place, f.worker_id, f.transport, f.claimed_at from qctl.in_flight f
      where f.queue_id = v_queue_ids[a.queue] and f.msg_id = a.msg_id and f.lease = a.lease and f.enqueued_at = a.enqueued_at
        and f.lapsed_at is null and f.delivery_no = 1 and f.attempt_no = 1
      offset 0 for update) f
    where qctl._is_success(a.status) and not qctl._is_starting(a.response)
      and (select count(*) from qctl.retry r where r.queue_id = v_queue_ids[a.queue] and r.msg_id = a.msg_id) = 0
  ), closed as (
    delete from qctl.in_flight f where f.ctid = any (array(select t.place from tried t)) returning f.queue_id
  ), logged as (
    insert into qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, worker_id, transport, claimed_at,
                              settled_at, duration_ms, status_code, response, stands_for)
    select t.queue_id, t.msg_id, 1, 1, 'delivered', t.worker_id, t.transport, t.claimed_at, v_at, t.duration_ms, t.status,
           qctl._response_text(t.response), case when t.log = 'all' then 1 else (select count(*) from closed c where c.queue_id = t.queue_id) end
    from tried t
    where t.log = 'all' or t.msg_id = (select max(m.msg_id) from tried m where m.queue = t.queue)
    on conflict do nothing
  )
  select array_agg(t.queue order by t.queue, t.msg_id), array_agg(t.lease order by t.queue, t.msg_id), array_agg(t.msg_id order by t.queue, t.msg_id),
         array_agg(t.queued order by t.queue, t.msg_id), array_agg(t.status order by t.queue, t.msg_id), (select count(*) from closed)
  into v_of, v_lease, v_ids, v_places, v_status, v_closed from tried t;
  if v_of is null then
    return;
  end if;
  execute (
    select 'select ' || string_agg(format('%1$s($1[%2$s:%3$s], $2[%2$s:%3$s], $3[%2$s:%3$s], $4)',
                                          qctl._queue_function('archive', v_uuids[s.queue]), s.first, s.last), ' + ')
    from (select o.queue, min(o.n) as first, max(o.n) as last from unnest(v_of) with ordinality as o (queue, n) group by o.queue) s)
  into v_archived using v_places, v_ids, v_status, v_at;
  if v_archived <> v_closed then
    -- Another reader of pgmq has moved a message within its table, which qctl.settle finds by its number.
    raise exception 'only % of % messages were archived', v_archived, v_closed using errcode = 'QC007', hint = 'settle each queue by itself: qctl.settle()';
  end if;
  return query select v_names[s.queue], s.lease, s.msg_id from unnest(v_of, v_lease, v_ids) as s (queue, lease, msg_id);
end
$$;
comment on function qctl.settle_queues(text[], uuid[], bigint[], integer[], bytea[], integer[]) is
  'Settles successes of first attempts of several queues, in one transaction, and returns those that it settled; qctl.settle settles the '
  'others. An error settles nothing.';
