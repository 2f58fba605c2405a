-- Claiming: which messages a worker may send now, under one lease; and handing unsent ones back.

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
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
set enable_material = off
as $$
#variable_conflict use_column
declare
  -- An http lease outlives its request by 15 s. A pg_net request may wait 60 s to be started, and its answer comes into sight
  -- with those of its whole batch.
  c_slack constant interval := case p_transport when 'pg_net' then '120 s' else '15 s' end;
  -- How far claims may run ahead of an even pace: a job looks about once a second, a process much more often.
  c_burst_s constant double precision := case p_transport when 'pg_net' then 2 else 1 end;
  -- The first whatever its size, and those after it that still fit.
  c_fitting constant text := '(select w.* from (select m.*, sum(%s) over o as so_far, row_number() over o as place from %s m'
                             ' window o as (order by m.vt, m.msg_id)) w where w.place = 1 or w.so_far <= $17)';
  v_queue qctl.queue := qctl._queue(p_queue);
  v_gate qctl.gate;
  v_probe_id bigint;
  v_probe_early boolean;
  v_allowed integer;
  v_now timestamptz;
  v_live integer;
  v_expired boolean;
  v_room integer;
  v_lease uuid := gen_random_uuid();
  v_term interval;
  v_q text := 'q_' || p_queue;
  v_headers jsonb;
  v_inner bytea[];
  v_outer bytea[];
  v_signature text;
  v_count integer;
begin
  if coalesce(p_limit, 0) < 1 then
    return;
  end if;
  select * into v_gate from qctl.gate g where g.queue_id = v_queue.queue_id for update;
  if not found or v_gate.paused_at is not null then
    return;
  end if;
  -- Read under the lock: the queue may have moved to another transport meanwhile.
  select * into v_queue from qctl.queue q where q.queue_id = v_queue.queue_id;
  if v_queue.transport <> p_transport or not qctl.is_armed() then
    return;
  end if;
  v_now := clock_timestamp();
  v_term := make_interval(secs => v_queue.timeout_ms / 1000.0) + c_slack;

  select count(*), coalesce(bool_or(f.request_id is null and f.expires_at <= v_now), false) into v_live, v_expired
  from qctl.in_flight f where f.queue_id = v_queue.queue_id and f.lapsed_at is null;
  if v_expired then
    v_live := v_live - qctl._lapse(v_queue, v_now);
  end if;
  v_room := least(p_limit, least(v_queue.max_in_flight, v_gate.slow_limit) - v_live);
  if v_queue.rate_per_s is not null then
    v_gate.paced_at := greatest(v_gate.paced_at, v_now);
    v_allowed := floor((greatest(c_burst_s, 1 / v_queue.rate_per_s) - extract(epoch from v_gate.paced_at - v_now)::double precision)
                       * v_queue.rate_per_s + 0.001);
    -- A few at a time cost less than each by itself, and at 20 a second nobody sees the difference.
    if v_allowed < least(v_room, ceil(v_queue.rate_per_s * 0.05)) then
      return;
    end if;
    v_room := least(v_room, v_allowed);
  end if;
  if v_room < 1 then
    return;
  end if;

  if v_gate.opened_at is not null then
    if v_now < v_gate.probe_at or v_gate.probe_lease is not null and v_now < v_gate.probe_ends then
      return;
    end if;
    select p.msg_id, p.early into v_probe_id, v_probe_early from qctl._probe(v_queue, v_now) p;
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
  v_headers := qctl._resolved_headers(v_queue);
  select array_agg(s.inner_pad order by s.secret_id desc), array_agg(s.outer_pad order by s.secret_id desc) into v_inner, v_outer
  from qctl.signing_secret s where s.queue_id = v_queue.queue_id and (s.expires_at is null or s.expires_at > v_now);

  -- Written out for each secret: such expressions PostgreSQL inlines, while a function of an array would be called for each message.
  select string_agg(format($e$qctl._signature($14[%1$s], $15[%1$s], convert_to(s.webhook_id || '.' || $16 || '.' || s.body, 'UTF8'))$e$, i),
                    $e$ || ' ' || $e$ order by i) into v_signature
  from generate_series(1, cardinality(v_inner)) i;

  -- visible_at is only the safety net behind the lease: qctl._lapse shows the message again, and decides when.
  return query execute format($q$
    with picked as materialized (
      select q.msg_id, q.vt, q.enqueued_at, q.message, q.headers
      from pgmq.%1$I q
      where q.vt <= $2 and %2$s
        and not exists (select from qctl.in_flight f
                        where f.queue_id = $1 and f.msg_id = q.msg_id and f.lapsed_at is null)
      order by q.vt limit $3
      for update of q skip locked
    ), numbered as materialized (
      select p.msg_id, p.vt, p.enqueued_at, p.headers, coalesce(p.message::text, 'null') as body, coalesce(r.delivery_no, 1) as delivery_no,
             coalesce(r.attempt_no, 0) + 1 as attempt_no, r.webhook_id
      from %4$s p
      left join qctl.retry r
        on r.queue_id = $1 and r.msg_id = p.msg_id and r.enqueued_at = p.enqueued_at
    ), chosen as materialized (
      select n.* from %5$s n
    ), hidden as (
      update pgmq.%1$I q set vt = $2 + $5 + interval '60 s', read_ct = q.read_ct + 1,
             headers = case when q.headers ? 'qctl' then q.headers - 'qctl' else q.headers end
      from chosen n where q.msg_id = n.msg_id
    ), leased as (
      insert into qctl.in_flight (queue_id, msg_id, enqueued_at, lease, delivery_no, attempt_no, worker_id, transport, claimed_at,
                                  expires_at, order_key)
      select $1, n.msg_id, n.enqueued_at, $4, n.delivery_no, n.attempt_no, $6, $7, $2, $2 + $5,
             case when $13 then left(n.headers ->> 'x-pgmq-group', 200) end from chosen n
    )
    select s.msg_id, $4, $8, s.delivery_no, s.attempt_no, $9, $10,
           case when s.headers is null then $11 else qctl._request_headers($11, s.headers) end
           || jsonb_build_object('webhook-id', s.webhook_id, 'webhook-timestamp', $16%3$s),
           s.body
    from (select n.msg_id, n.delivery_no, n.attempt_no, n.headers, n.body,
                 coalesce(n.webhook_id, qctl.webhook_id($12, n.msg_id, n.enqueued_at)) as webhook_id
          from chosen n order by n.msg_id offset 0) s
  $q$, v_q, case when v_probe_id is not null then 'q.msg_id = ' || v_probe_id when v_queue.ordered then qctl._first_heads(p_queue) else 'true' end,
    ', ''webhook-signature'', ' || v_signature,
    -- First roughly, by what is stored, so that not much more is read than may be needed: of large messages hardly three times the text.
    case when p_max_bytes is null then 'picked'
         else format(c_fitting, 'case when pg_column_size(m.message) > 2000 then pg_column_size(m.message) / 3 else 0 end', 'picked') end,
    case when p_max_bytes is null then 'numbered' else format(c_fitting, 'octet_length(m.body)', 'numbered') end)
  using v_queue.queue_id, v_now, v_room, v_lease, v_term, p_worker_id, v_queue.transport,
        (extract(epoch from v_term) * 1000)::integer, v_queue.url, v_queue.timeout_ms, v_headers, v_queue.queue_uuid, v_queue.ordered,
        v_inner, v_outer, extract(epoch from v_now)::bigint::text, p_max_bytes;
  get diagnostics v_count = row_count;
  if v_count > 0 and (v_queue.rate_per_s is not null or v_gate.opened_at is not null) then
    update qctl.gate g
    set paced_at = v_gate.paced_at + make_interval(secs => v_count / v_queue.rate_per_s),
        probe_lease = case when g.opened_at is not null then v_lease end, probe_early = coalesce(v_probe_early, false),
        probe_ends = case when g.opened_at is not null then v_now + v_term end
    where g.queue_id = v_queue.queue_id;
  end if;
end
$$;

create or replace function qctl.claim(p_queue text, p_limit integer, p_worker_id bigint default null)
returns table (msg_id bigint, lease uuid, lease_ms integer, delivery_no integer, attempt_no integer,
               url text, timeout_ms integer, headers jsonb, body text)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select * from qctl._claim(p_queue, p_limit, p_worker_id, 'http')
$$;
comment on function qctl.claim(text, integer, bigint) is
  'Leases up to p_limit ready messages to one worker and returns all that is needed to send them. '
  'Nothing while the queue is paused, the database not armed, or for a queue of another transport. '
  'lease_ms counts from before the call; a request must be over by then.';

create or replace function qctl.claim(p_queue text, p_limit integer, p_worker_id bigint, p_max_bytes bigint)
returns table (msg_id bigint, lease uuid, lease_ms integer, delivery_no integer, attempt_no integer,
               url text, timeout_ms integer, headers jsonb, body text)
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
  select * from qctl._claim_within(p_queue, p_limit, p_worker_id, 'http', p_max_bytes)
$$;
comment on function qctl.claim(text, integer, bigint, bigint) is
  'The same for at most p_max_bytes of bodies, but always for one message: what a worker has room for.';

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
  'Gives back messages that were claimed but not sent: visible at once, no attempt spent.';
