-- Claim: decides which messages a worker may send now, and picks them.

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
  v_kept boolean;
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
  if v_queue.transport <> p_transport or not qctl.is_armed() or not qctl._can_carry(p_worker_id, v_queue.url) then
    return;
  end if;
  v_now := clock_timestamp();
  v_term := qctl._lease_term(v_queue.timeout_ms, p_transport);
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
  v_kept := v_probe_id is null and not v_queue.ordered and qctl._has_queue_functions(v_queue.queue_uuid);
  loop
    begin
      -- vt is only a safety net behind the lease, because qctl._lapse decides when the message becomes visible again.
      select * into v_picked from qctl._pick(v_queue, v_now, v_room, v_probe_id, v_now + v_term + interval '60 s', p_max_bytes, v_kept) p;
      if v_picked.ids is null then
        return;
      end if;
      return query
      select l.msg_id, l.lease, l.lease_ms, l.delivery_no, l.attempt_no, l.url, l.timeout_ms, l.headers, l.body
      from qctl._lease(array[v_queue], array[v_lease], v_now, p_worker_id, array_fill(1, array[cardinality(v_picked.ids)]), v_picked.ids, v_picked.times,
                       v_picked.headers, v_picked.bodies) l;
      exit;
    exception
      when data_exception or program_limit_exceeded or internal_error or insufficient_resources then
        if qctl._set_aside_unreadable(v_queue, v_now, v_room) > 0 then
          perform qctl._notify(v_queue.queue_id);
          return;
        elsif not v_kept then
          raise;
        end if;
        v_kept := false;
      when syntax_error_or_access_rule_violation or integrity_constraint_violation or feature_not_supported or plpgsql_error then
        -- The function does not fit pgmq's table, or somebody has just dropped it.
        if not v_kept then
          raise;
        end if;
        v_kept := false;
    end;
  end loop;
  if v_queue.rate_per_s is not null or v_gate.opened_at is not null then
    update qctl.gate g
    set paced_at = v_gate.paced_at + make_interval(secs => cardinality(v_picked.ids) / v_queue.rate_per_s),
        probe_lease = case when g.opened_at is not null then v_lease end,
        probe_ends = case when g.opened_at is not null then v_now + v_term end
    where g.queue_id = v_queue.queue_id;
  end if;
end
$$;

create or replace function qctl._lease_term(p_timeout_ms integer, p_transport text) returns interval
language sql immutable parallel safe
-- An http lease outlives its request by 15 s. A pg_net lease needs more because the request may wait 60 s to be started, and its
-- answer becomes visible together with its whole batch.
return make_interval(secs => p_timeout_ms / 1000.0) + case p_transport when 'pg_net' then interval '120 s' else interval '15 s' end;
comment on function qctl._lease_term(integer, text) is 'How long a lease is.';

create or replace function qctl._most_bytes() returns bigint
language sql immutable parallel safe
-- One array holds at most 1 GB; 256 MiB leave room because JSON grows when it is sent.
return 256 * 1024 * 1024;
comment on function qctl._most_bytes() is 'The most bytes of bodies that one claim takes from a queue.';

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
  p_queue qctl.queue, p_now timestamptz, p_room integer, p_probe_id bigint, p_hide_until timestamptz, p_max_bytes bigint, p_kept boolean,
  out ids bigint[], out times timestamptz[], out headers jsonb[], out bodies text[])
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
set enable_material = off
as $$
declare
  v_max_bytes bigint := least(p_max_bytes, qctl._most_bytes());
  v_from timestamptz := qctl._ready_from(p_queue.queue_id, p_now);
  v_q text := format('pgmq.%I', 'q_' || p_queue.queue_name);
begin
  if p_kept then
    execute format('select * from %s($1, $2, $3, $4, $5, $6)', qctl._queue_function('pick', p_queue.queue_uuid))
    into ids, times, headers, bodies using p_queue.queue_id, p_now, p_room, p_hide_until, v_max_bytes, v_from;
    return;
  end if;
  execute qctl._pick_statement(v_q,
    case when p_probe_id is not null then 'q.msg_id = ' || p_probe_id when p_queue.ordered then qctl._first_heads(p_queue.queue_name) else 'true' end,
    '$1', '$2', '$3', '$4', '$5')
  into ids, times, headers, bodies
  using p_queue.queue_id, p_now, p_room, v_max_bytes, v_from;
  execute qctl._hide_statement(v_q, '$1', '$2') using ids, p_hide_until;
end
$$;
comment on function qctl._pick(qctl.queue, timestamptz, integer, bigint, timestamptz, bigint, boolean) is
  'Locks the next messages, or the one to probe with, and hides them until p_hide_until. Returns them as arrays; null if there is none. '
  'p_kept: by the function of the queue, whose plan is kept.';

create or replace function qctl._pick_statement(
  p_table text, p_which text, p_queue_id text, p_now text, p_room text, p_max_bytes text, p_from text) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- The first message, whatever its size, and the following ones that still fit.
  c_fitting constant text := '(select w.* from (select m.*, sum(%s) over o as so_far, row_number() over o as place from %s m'
                             ' window o as (order by m.vt, m.msg_id)) w where w.place = 1 or w.so_far <= %s)';
begin
  -- It is kept small because it may be planned at each call; qctl._lease keeps its plan.
  return format($q$
    with picked as materialized (
      select q.msg_id, q.vt, q.enqueued_at, q.message, q.headers
      from %1$s q
      where q.vt >= %2$s and q.vt <= %3$s and %4$s
        -- offset 0, here and in the order of queues, forces a lookup by index for each message, whatever the statistics say.
        and not exists (select from qctl.in_flight f
                        where f.queue_id = %5$s and f.msg_id = q.msg_id and f.lapsed_at is null offset 0)
      order by q.vt limit %6$s
      for update of q skip locked
    ), written as materialized (
      select p.msg_id, p.vt, p.enqueued_at, p.headers, coalesce(p.message::text, 'null') as body from %7$s p
    )
    select array_agg(c.msg_id), array_agg(c.enqueued_at), array_agg(c.headers), array_agg(c.body)
    from (select n.* from %8$s n order by n.msg_id) c
  $q$, p_table, p_from, p_now, p_which, p_queue_id, p_room,
    -- First an estimate by stored size, so that little more is read than needed: the text of a large message is up to 3 times larger.
    format(c_fitting, 'case when pg_column_size(m.message) > 2000 then pg_column_size(m.message) / 3 else 0 end', 'picked', p_max_bytes),
    format(c_fitting, 'octet_length(m.body)', 'written', p_max_bytes));
end
$$;
comment on function qctl._pick_statement(text, text, text, text, text, text, text) is
  'The statement that locks the next messages of a table; where a condition, besides that they are due and not in flight, is p_which.';

create or replace function qctl._hide_statement(p_table text, p_ids text, p_until text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
return format('update %s q set vt = %s, read_ct = least(q.read_ct::bigint + 1, 2147483647), '
              'headers = case when q.headers ? ''qctl'' then q.headers - ''qctl'' else q.headers end where q.msg_id = any (%s)', p_table, p_until, p_ids);
comment on function qctl._hide_statement(text, text, text) is 'The statement that hides messages from other readers of pgmq, and takes off what earlier attempts left.';

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
