-- Claim: leases messages to a worker and gives back those that it did not send.

create or replace function qctl._claim(p_queue text, p_limit integer, p_worker_id bigint, p_transport text)
returns table (msg_id bigint, lease uuid, lease_ms integer, delivery_no integer, attempt_no integer,
               url text, timeout_ms integer, headers jsonb, body text)
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from qctl._claim_within(p_queue, p_limit, p_worker_id, p_transport, null)
$$;

create or replace function qctl._claim_within(p_queue text, p_limit integer, p_worker_id bigint, p_transport text, p_max_bytes bigint)
returns table (msg_id bigint, lease uuid, lease_ms integer, delivery_no integer, attempt_no integer,
               url text, timeout_ms integer, headers jsonb, body text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  -- An http lease outlives its request by 15 s. A pg_net lease needs more because the request may wait 60 s to be started, and its
  -- answer becomes visible together with its whole batch.
  c_slack constant interval := case p_transport when 'pg_net' then '120 s' else '15 s' end;
  -- Seconds by which claims may run ahead of an even rate: a job claims about once a second, a process much more often.
  c_burst_s constant double precision := case p_transport when 'pg_net' then 2 else 1 end;
  v_queue qctl.queue := qctl._queue(p_queue);
  v_gate qctl.gate;
  v_now timestamptz;
  v_term interval;
  v_room integer;
  v_probe_id bigint;
  v_lease uuid := gen_random_uuid();
  v_picked record;
begin
  if coalesce(p_limit, 0) < 1 then
    return;
  end if;
  select * into v_gate from qctl.gate g where g.queue_id = v_queue.queue_id for update;
  if not found or v_gate.paused_at is not null then
    return;
  end if;
  -- Read again under the lock because the transport of the queue may have changed.
  select * into v_queue from qctl.queue q where q.queue_id = v_queue.queue_id;
  if v_queue.transport <> p_transport or not qctl.is_armed() then
    return;
  end if;
  v_now := clock_timestamp();
  v_term := make_interval(secs => v_queue.timeout_ms / 1000.0) + c_slack;
  v_gate.paced_at := qctl._paced_at(v_queue.rate_per_s, v_gate.paced_at, v_now, c_burst_s);
  v_room := qctl._room(v_queue, v_gate, qctl._live_leases(v_queue, v_now), p_limit, v_now, c_burst_s);
  if v_room < 1 then
    return;
  end if;

  if v_gate.opened_at is not null then
    if not qctl._is_due(v_gate.probe_at, v_now, qctl._longest_pause(v_queue))
       or v_gate.probe_lease is not null and not qctl._is_due(v_gate.probe_ends, v_now, v_term) then
      return;
    end if;
    v_probe_id := qctl._probe(v_queue, v_now);
    if v_probe_id is null then
      return;
    end if;
    v_room := 1;
  else
    if v_gate.recall_after is not null then
      perform qctl._recall(v_queue, v_gate, v_now);
    end if;
    if v_queue.ordered then
      perform qctl._park_followers(v_queue, v_now, v_room);
    end if;
  end if;
  begin
    -- vt is only a safety net behind the lease, because qctl._lapse decides when the message becomes visible again.
    select * into v_picked from qctl._pick(v_queue, v_now, v_room, v_probe_id, v_now + v_term + interval '60 s', p_max_bytes) p;
    if v_picked.ids is null then
      return;
    end if;
    return query select * from qctl._lease(v_queue, v_lease, v_now, v_term, p_worker_id, v_picked.ids, v_picked.times, v_picked.headers, v_picked.bodies);
  exception when data_exception or program_limit_exceeded or internal_error or insufficient_resources then
    if qctl._set_aside_unreadable(v_queue, v_now, v_room) = 0 then
      raise;
    end if;
    perform qctl._notify(v_queue.queue_id);
    return;
  end;
  if v_queue.rate_per_s is not null or v_gate.opened_at is not null then
    update qctl.gate g
    set paced_at = v_gate.paced_at + make_interval(secs => cardinality(v_picked.ids) / v_queue.rate_per_s),
        probe_lease = case when g.opened_at is not null then v_lease end,
        probe_ends = case when g.opened_at is not null then v_now + v_term end
    where g.queue_id = v_queue.queue_id;
  end if;
end
$$;

create or replace function qctl._live_leases(p_queue qctl.queue, p_now timestamptz) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  v_front timestamptz[] := qctl._front(p_queue.queue_id, p_now);
  v_began timestamptz := clock_timestamp();
  v_live integer;
  v_expired boolean;
  v_oldest timestamptz;
begin
  -- claimed_at is always finite; the condition chooses the index.
  select count(*), coalesce(bool_or(f.request_id is null and f.expires_at <= p_now), false), min(f.claimed_at)
  into v_live, v_expired, v_oldest
  from qctl.in_flight f
  where f.queue_id = p_queue.queue_id and f.lapsed_at is null and f.claimed_at > '-infinity' and f.claimed_at >= coalesce(v_front[2], '-infinity');
  if v_front is not null or clock_timestamp() - v_began > interval '400 us' + v_live * interval '1 us' then
    perform qctl._move_front(p_queue, v_front, v_oldest, p_now);
  end if;
  return v_live - case when v_expired then qctl._lapse(p_queue, p_now) else 0 end;
end
$$;
comment on function qctl._live_leases(qctl.queue, timestamptz) is
  'Ends the leases of a queue that have expired and returns how many are live. The caller holds the gate.';

create or replace function qctl._paced_at(p_rate_per_s double precision, p_paced_at timestamptz, p_now timestamptz, p_burst_s double precision)
returns timestamptz
language sql stable parallel safe
return case when qctl._is_due(p_paced_at, p_now, make_interval(secs => 0.1 + greatest(p_burst_s, 1 / p_rate_per_s))) then p_now else p_paced_at end;
comment on function qctl._paced_at(double precision, timestamptz, timestamptz, double precision) is
  'Up to when the rate of a queue is used up. An instant that lies further ahead than claims may run was set under another rate or clock.';

create or replace function qctl._room(p_queue qctl.queue, p_gate qctl.gate, p_live integer, p_limit integer, p_now timestamptz, p_burst_s double precision)
returns integer
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_room integer := least(p_limit, least(p_queue.max_in_flight, p_gate.slow_limit) - p_live);
  v_allowed integer;
begin
  if p_queue.rate_per_s is null then
    return v_room;
  end if;
  v_allowed := floor((greatest(p_burst_s, 1 / p_queue.rate_per_s) - extract(epoch from p_gate.paced_at - p_now)::double precision)
                     * p_queue.rate_per_s + 0.001);
  -- Several messages cost less in one claim than in one claim each; 20 claims a second are frequent enough.
  return case when v_allowed < least(v_room, ceil(p_queue.rate_per_s * 0.05)) then 0 else least(v_room, v_allowed) end;
end
$$;
comment on function qctl._room(qctl.queue, qctl.gate, integer, integer, timestamptz, double precision) is
  'How many messages may be claimed now: by the limit that was asked for, by max_in_flight, by the slow start after an outage, and by the rate.';

create or replace function qctl._pick(
  p_queue qctl.queue, p_now timestamptz, p_room integer, p_probe_id bigint, p_hide_until timestamptz, p_max_bytes bigint,
  out ids bigint[], out times timestamptz[], out headers jsonb[], out bodies text[])
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
set enable_material = off
as $$
declare
  -- One array holds at most 1 GB; 256 MiB leave room because JSON grows when it is sent.
  c_most_bytes constant bigint := 256 * 1024 * 1024;
  -- The first message, whatever its size, and the following ones that still fit.
  c_fitting constant text := '(select w.* from (select m.*, sum(%s) over o as so_far, row_number() over o as place from %s m'
                             ' window o as (order by m.vt, m.msg_id)) w where w.place = 1 or w.so_far <= $4)';
  v_q text := 'q_' || p_queue.queue_name;
begin
  -- A statement on pgmq's table is planned at each call, so it is kept small; qctl._lease keeps its plan.
  execute format($q$
    with picked as materialized (
      select q.msg_id, q.vt, q.enqueued_at, q.message, q.headers
      from pgmq.%1$I q
      where q.vt >= $5 and q.vt <= $2 and %2$s
        -- offset 0, here and in the order of queues, forces a lookup by index for each message, whatever the statistics say.
        and not exists (select from qctl.in_flight f
                        where f.queue_id = $1 and f.msg_id = q.msg_id and f.lapsed_at is null offset 0)
      order by q.vt limit $3
      for update of q skip locked
    ), written as materialized (
      select p.msg_id, p.vt, p.enqueued_at, p.headers, coalesce(p.message::text, 'null') as body from %3$s p
    )
    select array_agg(c.msg_id), array_agg(c.enqueued_at), array_agg(c.headers), array_agg(c.body)
    from (select n.* from %4$s n order by n.msg_id) c
  $q$, v_q,
    case when p_probe_id is not null then 'q.msg_id = ' || p_probe_id when p_queue.ordered then qctl._first_heads(p_queue.queue_name) else 'true' end,
    -- First an estimate by stored size, so that little more is read than needed: the text of a large message is up to 3 times larger.
    format(c_fitting, 'case when pg_column_size(m.message) > 2000 then pg_column_size(m.message) / 3 else 0 end', 'picked'),
    format(c_fitting, 'octet_length(m.body)', 'written'))
  into ids, times, headers, bodies
  using p_queue.queue_id, p_now, p_room, least(p_max_bytes, c_most_bytes), qctl._ready_from(p_queue.queue_id, p_now);
  execute format($q$
    update pgmq.%I q set vt = $2, read_ct = least(q.read_ct::bigint + 1, 2147483647), headers = case when q.headers ? 'qctl' then q.headers - 'qctl' else q.headers end
    where q.msg_id = any ($1)
  $q$, v_q) using ids, p_hide_until;
end
$$;
comment on function qctl._pick(qctl.queue, timestamptz, integer, bigint, timestamptz, bigint) is
  'Locks the next messages, or the one to probe with, and hides them until p_hide_until. Returns them as arrays; null if there is none.';

create or replace function qctl._lease(
  p_queue qctl.queue, p_lease uuid, p_now timestamptz, p_term interval, p_worker_id bigint,
  p_msg_id bigint[], p_enqueued_at timestamptz[], p_headers jsonb[], p_body text[])
returns table (msg_id bigint, lease uuid, lease_ms integer, delivery_no integer, attempt_no integer,
               url text, timeout_ms integer, headers jsonb, body text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_material = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_ends timestamptz := p_now + p_term;
  v_lease_ms integer := extract(epoch from p_term) * 1000;
  v_stamp text := extract(epoch from p_now)::bigint;
  v_headers jsonb := qctl._resolved_headers(p_queue);
  v_inner bytea[];
  v_outer bytea[];
begin
  select array_agg(s.inner_pad order by s.secret_id desc), array_agg(s.outer_pad order by s.secret_id desc) into v_inner, v_outer
  from qctl.signing_secret s where s.queue_id = p_queue.queue_id and (s.expires_at is null or s.expires_at > p_now);
  return query
  with chosen as materialized (
    select u.msg_id, u.enqueued_at, u.headers, u.body, coalesce(r.delivery_no, 1) as delivery_no, coalesce(r.attempt_no, 0) + 1 as attempt_no,
           coalesce(r.webhook_id, qctl.webhook_id(p_queue.queue_uuid, u.msg_id, u.enqueued_at)) as webhook_id
    from unnest(p_msg_id, p_enqueued_at, p_headers, p_body) as u (msg_id, enqueued_at, headers, body)
    -- offset 0 forces one index lookup per message, whatever the size of the table was when the plan was made.
    left join lateral (select r.delivery_no, r.attempt_no, r.webhook_id from qctl.retry r
                       where r.queue_id = p_queue.queue_id and r.msg_id = u.msg_id and r.enqueued_at = u.enqueued_at offset 0) r on true
  ), leased as (
    insert into qctl.in_flight (queue_id, msg_id, enqueued_at, lease, delivery_no, attempt_no, worker_id, transport, claimed_at,
                                expires_at, order_key)
    select p_queue.queue_id, c.msg_id, c.enqueued_at, p_lease, c.delivery_no, c.attempt_no, p_worker_id, p_queue.transport, p_now,
           v_ends, case when p_queue.ordered then qctl._order_key(c.headers) end
    from chosen c
  )
  select c.msg_id, p_lease, v_lease_ms, c.delivery_no, c.attempt_no, p_queue.url, p_queue.timeout_ms,
         case when c.headers is null then v_headers else qctl._request_headers(v_headers, c.headers) end
         || case when v_inner is null then jsonb_build_object('webhook-id', c.webhook_id, 'webhook-timestamp', v_stamp)
                 else jsonb_build_object('webhook-id', c.webhook_id, 'webhook-timestamp', v_stamp, 'webhook-signature',
                   -- Written out for one and for two secrets because PostgreSQL inlines these expressions; qctl._signatures is a call per
                   -- message.
                   case cardinality(v_inner)
                     when 1 then qctl._signature(v_inner[1], v_outer[1], convert_to(c.webhook_id || '.' || v_stamp || '.' || c.body, 'UTF8'))
                     when 2 then qctl._signature(v_inner[1], v_outer[1], convert_to(c.webhook_id || '.' || v_stamp || '.' || c.body, 'UTF8')) || ' '
                                 || qctl._signature(v_inner[2], v_outer[2], convert_to(c.webhook_id || '.' || v_stamp || '.' || c.body, 'UTF8'))
                     else qctl._signatures(v_inner, v_outer, convert_to(c.webhook_id || '.' || v_stamp || '.' || c.body, 'UTF8')) end) end,
         c.body
  from chosen c;
end
$$;
comment on function qctl._lease(qctl.queue, uuid, timestamptz, interval, bigint, bigint[], timestamptz[], jsonb[], text[]) is
  'Leases messages that the caller has locked and returns the requests to send. Its plan is kept because planning at each call would cost '
  'as much as the claim of one message.';

create or replace function qctl.claim(p_queue text, p_limit integer, p_worker_id bigint default null)
returns table (msg_id bigint, lease uuid, lease_ms integer, delivery_no integer, attempt_no integer,
               url text, timeout_ms integer, headers jsonb, body text)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select * from qctl._claim(p_queue, p_limit, p_worker_id, 'http')
$$;
comment on function qctl.claim(text, integer, bigint) is
  'Leases up to p_limit ready messages to one worker, at least one and at most 256 MiB, and returns the requests to send. '
  'Returns nothing while the queue is paused, the database is not armed or the queue has another transport. '
  'Count lease_ms from before the call; a request must end within it.';

create or replace function qctl.claim(p_queue text, p_limit integer, p_worker_id bigint, p_max_bytes bigint)
returns table (msg_id bigint, lease uuid, lease_ms integer, delivery_no integer, attempt_no integer,
               url text, timeout_ms integer, headers jsonb, body text)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select * from qctl._claim_within(p_queue, p_limit, p_worker_id, 'http', p_max_bytes)
$$;
comment on function qctl.claim(text, integer, bigint, bigint) is
  'As qctl.claim(text, integer, bigint), for at most p_max_bytes of bodies but at least one message.';

create or replace function qctl.release(p_queue text, p_lease uuid[], p_msg_id bigint[]) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_ids bigint[];
begin
  execute format('select from pgmq.%I q where q.msg_id = any ($1) order by q.msg_id for update', 'q_' || p_queue)
    using p_msg_id;
  with released as (
    delete from qctl.in_flight f
    using unnest(p_lease, p_msg_id) as a (lease, msg_id)
    where f.queue_id = v_queue.queue_id and f.msg_id = a.msg_id and f.lease = a.lease and f.lapsed_at is null
    returning f.msg_id
  )
  select array_agg(r.msg_id) into v_ids from released r;
  update qctl.gate g set probe_lease = null, probe_ends = null where g.queue_id = v_queue.queue_id and g.probe_lease = any (p_lease);
  execute format('update pgmq.%I q set vt = clock_timestamp() where q.msg_id = any ($1)', 'q_' || p_queue) using v_ids;
  return coalesce(cardinality(v_ids), 0);
end
$$;
comment on function qctl.release(text, uuid[], bigint[]) is
  'Gives back messages that were claimed but not sent. They are visible at once, and it costs them no attempt.';
