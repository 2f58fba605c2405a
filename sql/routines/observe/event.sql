-- Operational events: notifications for operators, sent as messages of a queue, signed and retried like any message.

create or replace function qctl._emit(p_type text, p_queue text, p_data jsonb default '{}', p_throttle interval default null) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_route record;
  v_held integer;
  v_message jsonb;
  v_now timestamptz := clock_timestamp();
begin
  select r.queue_id, q.queue_name, r.throttle_s, r.format into v_route from qctl.event_route r join qctl.queue q using (queue_id);
  -- The event queue does not report on itself because each report would add a message to it.
  if not found or v_route.queue_name = p_queue then
    return;
  end if;
  insert into qctl.event_last as l (event_type, subject, at) values (p_type, coalesce(p_queue, ''), v_now)
  on conflict (event_type, subject) do update
    set suppressed = case when l.at <= v_now - coalesce(p_throttle, make_interval(secs => v_route.throttle_s)) then 0 else l.suppressed + 1 end,
        at = case when l.at <= v_now - coalesce(p_throttle, make_interval(secs => v_route.throttle_s)) then v_now else l.at end
  returning case when l.at = v_now then 0 else l.suppressed end into v_held;
  if v_held > 0 then
    return;
  end if;
  v_message := qctl._shape(v_route.format, jsonb_build_object('type', p_type, 'timestamp', to_char(v_now at time zone interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                                    'data', jsonb_strip_nulls(jsonb_build_object('database', current_database(), 'queue', p_queue) || p_data)), null);
  execute format('insert into pgmq.%I (vt, message, headers) values ($1, $2, $3)', 'q_' || v_route.queue_name)
    using v_now, v_message, qctl._shape_headers(v_route.format, v_message);
  perform qctl._notify(v_route.queue_id);
exception when others then
  perform qctl._audit_rarely('event_failed', p_queue, sqlstate, sqlerrm);
end
$$;
comment on function qctl._emit(text, text, jsonb, interval) is
  'Enqueues an event into the event queue, at most one of a type about a queue '
  'within the throttle. An error is recorded and stops nothing.';

create or replace function qctl.set_event_route(p_queue text, p_throttle_s integer default null, p_format text default null)
returns table (queue_name text, throttle_s integer, format text, changed boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue;
  v_old qctl.event_route;
begin
  select * into v_old from qctl.event_route;
  if p_queue is null then
    delete from qctl.event_route;
    if found then
      perform qctl._audit('events', null, '{"to": null}');
    end if;
    return query select null::text, null::integer, null::text, v_old.queue_id is not null;
    return;
  end if;
  v_queue := qctl._queue(p_queue);
  if p_throttle_s not between 0 and 604800 then
    raise exception 'the throttle must be between 0 and 7 days' using errcode = 'QC002';
  end if;
  perform qctl._check_shape(coalesce(p_format, 'qctl'));
  insert into qctl.event_route as r (queue_id, throttle_s, format) values (v_queue.queue_id, coalesce(p_throttle_s, 600), coalesce(p_format, 'qctl'))
  on conflict (one) do update set (queue_id, throttle_s, format, set_at, set_by)
    = (excluded.queue_id, coalesce(p_throttle_s, r.throttle_s), coalesce(p_format, r.format), excluded.set_at, excluded.set_by);
  perform qctl._check_net_formats(v_queue);
  perform qctl._audit('events', p_queue, jsonb_strip_nulls(jsonb_build_object('throttle_s', p_throttle_s, 'format', p_format)));
  return query
  select p_queue, r.throttle_s, r.format, (r.queue_id, r.throttle_s, r.format) is distinct from (v_old.queue_id, v_old.throttle_s, v_old.format) from qctl.event_route r;
end
$$;
comment on function qctl.set_event_route(text, integer, text) is
  'Sets the queue for operational events; null switches them off. Types: breaker.opened, breaker.closed, queue.paused, message.dead, '
  'database.disarmed, worker.gone. Of each type at most one about a queue is sent in p_throttle_s (default 600). p_format: one of qctl._shapes().';

create or replace function qctl.event_route() returns table (queue_name text, url text, throttle_s integer, set_at timestamptz, set_by text, format text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select q.queue_name, q.url, r.throttle_s, r.set_at, r.set_by, r.format from qctl.event_route r join qctl.queue q using (queue_id)
$$;
