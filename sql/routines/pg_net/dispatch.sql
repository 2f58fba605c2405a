-- pg_net, the way out: claims, calls net.http_post and writes the in-flight rows in one transaction.

create or replace function qctl._post(p_queue qctl.queue, p_lease uuid[], p_msg_id bigint[], p_headers jsonb[], p_body text[])
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_count integer := cardinality(p_msg_id);
  v_half integer := cardinality(p_msg_id) / 2;
  v_epoch uuid := qctl._net_epoch();
  v_error text;
begin
  begin
    with sent as materialized (
      select s.msg_id, s.lease,
             net.http_post(url := p_queue.url, body := s.body::jsonb, headers := s.headers,
                           timeout_milliseconds := p_queue.timeout_ms) as request_id
      from (select * from unnest(p_lease, p_msg_id, p_headers, p_body) as u (lease, msg_id, headers, body) order by u.msg_id) s
    )
    update qctl.in_flight f set request_id = s.request_id, epoch = v_epoch from sent s
    where f.queue_id = p_queue.queue_id and f.msg_id = s.msg_id and f.lease = s.lease;
    update qctl.net_epoch e set last_request_id = qctl._net_last_id() where e.last_request_id < qctl._net_last_id();
    return v_count;
  exception when others then
    -- A locked or missing table, a missing privilege or a full disk is not a failure of the request.
    if left(sqlstate, 2) in ('25', '40', '42', '53', '55', '57', '58') then
      raise;
    end if;
    v_error := 'not sent: ' || sqlerrm;
  end;
  -- Halve the batch until the refused request is alone, so it harms no other.
  if v_count > 1 then
    return qctl._post(p_queue, p_lease[:v_half], p_msg_id[:v_half], p_headers[:v_half], p_body[:v_half])
         + qctl._post(p_queue, p_lease[v_half + 1:], p_msg_id[v_half + 1:], p_headers[v_half + 1:], p_body[v_half + 1:]);
  end if;
  perform qctl.settle(p_queue.queue_name, p_lease, p_msg_id, array[null::integer], array[v_error], array[null::bytea],
                      array[null::integer], array[null::integer]);
  return 0;
end
$$;
comment on function qctl._post(qctl.queue, uuid[], bigint[], jsonb[], text[]) is
  'Hands claimed messages to pg_net and stores their request ids. A request that net.http_post refuses counts as a failed attempt.';

create or replace function qctl.dispatch(p_queue text, p_limit integer default null, p_worker_id bigint default null)
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  c_rounds constant integer := 100;
  v_queue qctl.queue := qctl._queue(p_queue);
  v_max_body integer;
  v_room integer;
  v_lease uuid[];
  v_msg_id bigint[];
  v_headers jsonb[];
  v_body text[];
  v_big_lease uuid[];
  v_big_id bigint[];
  v_big_error text[];
begin
  if v_queue.transport <> 'pg_net' then
    return 0;
  end if;
  if qctl._net_epoch() is null then
    raise exception 'pg_net is not installed in this database' using errcode = 'QC004', hint = 'qctl set --transport http';
  end if;
  -- The commit must be durable, because a crash must not lose the record of a request that reached the endpoint.
  if current_setting('synchronous_commit') in ('off', 'local') then
    perform set_config('synchronous_commit', 'on', true);
  end if;
  -- One session at a time counts and takes the room in pg_net's queue; the transaction is short.
  perform pg_advisory_xact_lock(qctl._lock_space('singleton'), qctl._lock_key('dispatch'));
  v_room := least(coalesce(p_limit, v_queue.batch), v_queue.batch, qctl._net_room(v_queue));
  if v_room < 1 then
    return 0;
  end if;

  v_max_body := qctl._net_max_body(coalesce((select e.extversion from pg_extension e where e.extname = 'pg_net'), '0.20.4'));
  -- Messages that are too large are set aside until there is one to send, or many of them would keep a breaker from its probe.
  for v_round in 1..c_rounds loop
    select array_agg(c.lease) filter (where not c.big), array_agg(c.msg_id) filter (where not c.big),
           array_agg(c.headers) filter (where not c.big), array_agg(c.body) filter (where not c.big),
           array_agg(c.lease) filter (where c.big), array_agg(c.msg_id) filter (where c.big),
           array_agg(format('not sent: the body has %s bytes, pg_net carries %s here', octet_length(c.body), v_max_body)) filter (where c.big)
    into v_lease, v_msg_id, v_headers, v_body, v_big_lease, v_big_id, v_big_error
    from (select k.*, coalesce(octet_length(k.body) > v_max_body, false) as big
          from qctl._claim(p_queue, v_room, p_worker_id, 'pg_net') k) c;
    if v_big_id is not null then
      perform qctl._settle(v_queue, v_big_lease, v_big_id, array_fill(null::integer, array[cardinality(v_big_id)]), v_big_error,
                           array_fill(null::bytea, array[cardinality(v_big_id)]), array_fill(null::integer, array[cardinality(v_big_id)]),
                           array_fill(null::integer, array[cardinality(v_big_id)]), true);
    end if;
    exit when v_msg_id is not null or v_big_id is null;
  end loop;
  if v_msg_id is null then
    return 0;
  end if;
  return qctl._post(v_queue, v_lease, v_msg_id, v_headers, v_body);
end
$$;
comment on function qctl.dispatch(text, integer, bigint) is
  'Claims messages of a pg_net queue and hands them to pg_net, which starts them after the commit. Returns how many.';

create or replace function qctl._net_room(p_queue qctl.queue) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  c_probe constant interval := '60 s';
  v_now timestamptz := clock_timestamp();
  v_allowed integer := qctl._net_allowed(p_queue.timeout_ms);
  v_pending integer := qctl._net_pending(v_allowed);
  v_state qctl.scheduler;
  v_hold_until timestamptz;
begin
  select * into v_state from qctl.scheduler;
  if v_pending >= v_allowed then
    if v_state.net_held_since is null and not exists (
         select from qctl.in_flight f where f.request_id is not null and f.lapsed_at is null and f.epoch = qctl._net_epoch()) then
      perform qctl._net_hold(format('at least %s requests of other programs wait in pg_net''s queue', v_pending));
    end if;
    return 0;
  end if;

  if v_state.net_held_since is not null then
    if exists (select from net._http_response r where r.created > v_state.net_held_since) then
      perform qctl._net_free();
    else
      update qctl.scheduler s set net_probe_at = v_now where s.net_probe_at is null or s.net_probe_at < v_now - c_probe;
      return case when found then 1 else 0 end;
    end if;
  end if;

  select g.net_hold_until into v_hold_until from qctl.gate g where g.queue_id = p_queue.queue_id;
  if not qctl._is_due(v_hold_until, v_now, interval '10 min') then
    return 0;
  elsif v_hold_until is not null then
    return case when exists (select from qctl.in_flight f
                             where f.queue_id = p_queue.queue_id and f.lapsed_at is null and f.request_id is not null) then 0 else 1 end;
  end if;
  return v_allowed - v_pending;
end
$$;
comment on function qctl._net_room(qctl.queue) is
  'How many requests of this queue pg_net may take now: none while it is stalled, one to test whether it works again.';

create or replace function qctl._net_hold(p_reason text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  update qctl.scheduler s
  set net_held_since = clock_timestamp(), net_probe_at = clock_timestamp(),
      net_held_reason = p_reason || case
        when exists (select from pg_stat_activity a where a.application_name ~ '^pg_net' or a.backend_type ~ '^pg_net') then ''
        else '; its worker is not in pg_stat_activity' end
  where s.net_held_since is null;
  if found then
    perform qctl._audit('net_hold', null, jsonb_build_object('reason', p_reason));
  end if;
end
$$;
comment on function qctl._net_hold(text) is 'Marks pg_net as stalled. It then gets one message a minute until it answers one.';

create or replace function qctl._net_free() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  update qctl.scheduler s set net_held_since = null, net_held_reason = null, net_probe_at = null where s.net_held_since is not null;
  if found then
    perform qctl._audit('net_free', null);
  end if;
end
$$;
