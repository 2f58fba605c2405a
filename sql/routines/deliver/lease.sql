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
  -- A broker keeps the order of a key by itself, so it must know the key; no header of a user can have this name.
  v_keyed boolean := qctl._carrier(p_queue.url) <> 'http';
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
         case when c.headers is null then v_headers when v_keyed then qctl._request_headers(v_headers, c.headers) || qctl._order_header(c.headers)
              else qctl._request_headers(v_headers, c.headers) end
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
