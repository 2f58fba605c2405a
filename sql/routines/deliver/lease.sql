-- Lease: which messages are in flight, the requests that a lease consists of, and how it is given back.

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

create or replace function qctl._lease(
  p_queues qctl.queue[], p_leases uuid[], p_now timestamptz, p_worker_id bigint,
  p_of integer[], p_msg_id bigint[], p_enqueued_at timestamptz[], p_headers jsonb[], p_body text[])
returns table (queue_name text, msg_id bigint, lease uuid, lease_ms integer, delivery_no integer, attempt_no integer,
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
  v_stamp text := extract(epoch from p_now)::bigint;
begin
  return query
  with sender as materialized (
    select n, p_leases[n] as lease, q.queue_id, q.queue_name, q.queue_uuid, q.transport, q.url, q.timeout_ms, q.ordered,
           qctl._lease_term(q.timeout_ms, q.transport) as term, qctl._resolved_headers(p_queues[n]) as headers,
           -- A broker keeps the order of a key by itself, so it must know the key; no header of a user can have this name.
           qctl._carrier(q.url) <> 'http' as keyed, s.inner_pads, s.outer_pads
    from unnest(p_queues) with ordinality q
    cross join lateral (select q.ordinality::integer as n) n
    cross join lateral (
      select array_agg(s.inner_pad order by s.secret_id desc) as inner_pads, array_agg(s.outer_pad order by s.secret_id desc) as outer_pads
      from qctl.signing_secret s where s.queue_id = q.queue_id and (s.expires_at is null or s.expires_at > p_now) offset 0) s
  ), chosen as materialized (
    select u.place, s.n, u.msg_id, u.enqueued_at, u.headers, u.body, coalesce(r.delivery_no, 1) as delivery_no, coalesce(r.attempt_no, 0) + 1 as attempt_no,
           coalesce(r.webhook_id, qctl.webhook_id(s.queue_uuid, u.msg_id, u.enqueued_at)) as webhook_id
    from unnest(p_of, p_msg_id, p_enqueued_at, p_headers, p_body) with ordinality as u (n, msg_id, enqueued_at, headers, body, place)
    join sender s using (n)
    -- offset 0 forces one index lookup per message, whatever the size of the table was when the plan was made.
    left join lateral (select r.delivery_no, r.attempt_no, r.webhook_id from qctl.retry r
                       where r.queue_id = s.queue_id and r.msg_id = u.msg_id and r.enqueued_at = u.enqueued_at offset 0) r on true
  ), leased as (
    insert into qctl.in_flight (queue_id, msg_id, enqueued_at, lease, delivery_no, attempt_no, worker_id, transport, claimed_at,
                                expires_at, order_key)
    select s.queue_id, c.msg_id, c.enqueued_at, s.lease, c.delivery_no, c.attempt_no, p_worker_id, s.transport, p_now,
           p_now + s.term, case when s.ordered then qctl._order_key(c.headers) end
    from chosen c join sender s using (n)
  )
  select s.queue_name, c.msg_id, s.lease, (extract(epoch from s.term) * 1000)::integer, c.delivery_no, c.attempt_no, s.url, s.timeout_ms,
         case when c.headers is null then s.headers when s.keyed then qctl._request_headers(s.headers, c.headers) || qctl._order_header(c.headers)
              else qctl._request_headers(s.headers, c.headers) end
         || case when s.inner_pads is null then jsonb_build_object('webhook-id', c.webhook_id, 'webhook-timestamp', v_stamp)
                 else jsonb_build_object('webhook-id', c.webhook_id, 'webhook-timestamp', v_stamp, 'webhook-signature',
                   -- Written out for one and for two secrets because PostgreSQL inlines these expressions; qctl._signatures is a call per
                   -- message.
                   case cardinality(s.inner_pads)
                     when 1 then qctl._signature(s.inner_pads[1], s.outer_pads[1], convert_to(c.webhook_id || '.' || v_stamp || '.' || c.body, 'UTF8'))
                     when 2 then qctl._signature(s.inner_pads[1], s.outer_pads[1], convert_to(c.webhook_id || '.' || v_stamp || '.' || c.body, 'UTF8')) || ' '
                                 || qctl._signature(s.inner_pads[2], s.outer_pads[2], convert_to(c.webhook_id || '.' || v_stamp || '.' || c.body, 'UTF8'))
                     else qctl._signatures(s.inner_pads, s.outer_pads, convert_to(c.webhook_id || '.' || v_stamp || '.' || c.body, 'UTF8')) end) end,
         c.body
  from chosen c join sender s using (n)
  -- As they were picked: workers send in this order.
  order by c.place;
end
$$;
comment on function qctl._lease(qctl.queue[], uuid[], timestamptz, bigint, integer[], bigint[], timestamptz[], jsonb[], text[]) is
  'Leases messages that the caller has locked, each of one of the queues by its place in p_of, and returns the requests to send. Its plan is kept because planning at each call would cost '
  'as much as the claim of one message.';

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
