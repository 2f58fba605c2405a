-- Queues: find by name, create, pause and resume.

create or replace function qctl._queue(p_queue text) returns qctl.queue
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue qctl.queue;
begin
  select * into v_queue from qctl.queue where queue_name = p_queue;
  if not found then
    raise exception 'queue % not found', quote_literal(coalesce(p_queue, ''))
      using errcode = 'QC006',
            hint = coalesce('existing queues: ' || (select string_agg(queue_name, ', ' order by queue_name) from qctl.queue),
                            'no queue exists yet: qctl create NAME --url URL');
  end if;
  return v_queue;
end
$$;
comment on function qctl._queue(text) is 'The queue with this name. Raises QC006, which lists the existing queues, if there is none.';

create or replace function qctl._check_name(p_queue text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_queue is null or p_queue !~ '^[a-z_][a-z0-9_]{0,46}$' then
    raise exception '% is not a valid queue name', quote_literal(coalesce(left(p_queue, 100), ''))
      using errcode = 'QC002',
            hint = 'use 1 to 47 of a-z, 0-9 and _, beginning with a letter or _';
  end if;
end
$$;

create or replace function qctl.create_queue(
  p_queue text, p_url text, p_headers jsonb default '{}', p_settings jsonb default '{}', p_waiting text default null,
  p_take_over boolean default false, p_ignore_readers boolean default false, p_again boolean default false)
returns table (queue_name text, created boolean, waiting bigint, skipped bigint, transport text, reason text, switched_off text[])
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
#variable_conflict use_column
declare
  v_meta record;
  v_waiting bigint := 0;
  v_skipped bigint := 0;
  v_exists boolean;
  v_queue_id integer;
  v_transport text;
  v_reason text;
  v_switched_off text[] := '{}';
  v_archived boolean := false;
  v_last bigint;
begin
  perform qctl._check_name(p_queue);
  perform qctl._check_url(p_url);
  perform qctl._check_headers(p_headers);
  if p_waiting is not null and p_waiting not in ('deliver', 'skip') then
    raise exception '% is not a valid choice for waiting messages', quote_literal(left(p_waiting, 100))
      using errcode = 'QC002', hint = 'use deliver or skip';
  end if;
  select c.transport, c.reason into v_transport, v_reason
  from qctl.choose_transport(coalesce(p_settings ->> 'transport', 'auto'), p_url) c;
  perform pg_advisory_xact_lock(hashtextextended('qctl.create_queue', 0));
  if p_again and exists (select from qctl.queue q where q.queue_name = p_queue) then
    perform qctl.set_queue(p_queue, p_url, nullif(p_headers, '{}'), p_settings);
    return query select p_queue, false, null::bigint, null::bigint, q.transport, 'the queue was there already', '{}'::text[]
                 from qctl.queue q where q.queue_name = p_queue;
    return;
  elsif exists (select from qctl.queue q where q.queue_name = p_queue) then
    raise exception 'queue ''%'' already exists', p_queue
      using errcode = 'QC007', hint = format('qctl describe %s shows it; qctl set --help lists what can be changed', p_queue);
  end if;

  select m.is_partitioned, m.is_unlogged into v_meta from pgmq.meta m where m.queue_name = p_queue;
  v_exists := found;
  if v_exists then
    if v_meta.is_partitioned or v_meta.is_unlogged then
      raise exception 'pgmq queue ''%'' is %, which qctl does not support', p_queue,
          case when v_meta.is_unlogged then 'unlogged' else 'partitioned' end
        using errcode = 'QC007',
              detail = case when v_meta.is_unlogged then 'A crash deletes the messages of an unlogged queue.'
                       else 'The retention of a partitioned queue deletes messages that were never delivered.' end,
              hint = 'create a queue that is logged and not partitioned under another name, and move the messages';
    end if;
    execute format('select count(*) from pgmq.%I', 'q_' || p_queue) into v_waiting;
    if p_take_over then
      v_switched_off := qctl._take_over(p_queue);
    elsif not p_ignore_readers then
      perform qctl._refuse_other_readers(p_queue);
    end if;
    if p_waiting is null and v_waiting > 0 then
      raise exception 'pgmq queue ''%'' already exists and holds % messages', p_queue, v_waiting
        using errcode = 'QC007',
              hint = 'to deliver them to this endpoint: --waiting deliver; to archive them undelivered: --waiting skip';
    elsif p_waiting = 'skip' then
      v_skipped := qctl._skip_waiting(p_queue);
    end if;
  else
    v_archived := to_regclass(format('pgmq.%I', 'a_' || p_queue)) is not null;
    perform qctl._make_pgmq_queue(p_queue);
    if v_archived then
      -- The archive of a dropped queue remains, so new ids continue after its highest id.
      execute format('select coalesce(max(msg_id), 0) from pgmq.%I', 'a_' || p_queue) into v_last;
      if v_last > 0 then
        perform setval(pg_get_serial_sequence(format('pgmq.%I', 'q_' || p_queue), 'msg_id'), v_last);
      end if;
    end if;
  end if;
  perform qctl._take_out(p_queue);
  perform qctl._tune_queue_table(p_queue);

  -- Only a new queue gets a retention, because the history of an adopted or dropped queue belongs to the user. pg_net gets a short
  -- timeout because one slow request holds up the requests of all queues.
  insert into qctl.queue (queue_name, url, headers, timeout_ms, retention_s)
  values (p_queue, p_url, qctl._lower_keys(p_headers), case v_transport when 'pg_net' then 5000 else 15000 end,
          case when not v_exists and not v_archived then 7 * 86400 end)
  returning queue_id into v_queue_id;
  insert into qctl.gate (queue_id) values (v_queue_id);
  perform qctl._apply_settings(p_queue, case when qctl._carrier(p_url) = 'http' then '{}' else qctl._carrier_defaults(p_url) end || p_settings || jsonb_build_object('transport', v_transport), true);
  perform qctl._warn_of_missing_secrets(p_headers);
  perform qctl._make_status_view(p_queue);
  perform qctl._make_queue_functions(qctl._queue(p_queue));
  perform qctl._plan_jobs(false);
  perform qctl._audit('create', p_queue, p_settings || jsonb_build_object(
    'url', p_url, 'adopted', v_exists, 'transport', v_transport, 'skipped', nullif(v_skipped, 0),
    'switched_off', nullif(to_jsonb(v_switched_off), '[]')));
  return query select p_queue, not v_exists, v_waiting, v_skipped, v_transport, v_reason, v_switched_off;
end
$$;
comment on function qctl.create_queue(text, text, jsonb, jsonb, text, boolean, boolean, boolean) is
  'Creates a pgmq queue with its endpoint, or adopts an existing one. p_waiting: what happens to the messages of an adopted queue: '
  'deliver, or skip (move to the archive). p_take_over: switch off cron jobs that read the queue; p_ignore_readers: leave them active. '
  'p_again: change the queue if it is there already, so that a migration can run again. '
  'Settings: see qctl.set_queue.';

create or replace function qctl.pause(p_queue text, p_reason text default null)
returns table (queue_name text, changed boolean, paused_at timestamptz)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_changed boolean;
begin
  update qctl.gate g set paused_at = clock_timestamp(), paused_by = session_user, pause_reason = left(p_reason, 500)
  where g.queue_id = v_queue.queue_id and g.paused_at is null;
  v_changed := found;
  if v_changed then
    perform qctl._audit('pause', p_queue, jsonb_build_object('reason', p_reason));
    perform qctl._emit('queue.paused', p_queue, jsonb_build_object('reason', p_reason, 'by', session_user, 'url', v_queue.url));
  end if;
  return query select p_queue, v_changed, g.paused_at from qctl.gate g where g.queue_id = v_queue.queue_id;
end
$$;
comment on function qctl.pause(text, text) is 'Stops claiming. Messages in flight still settle, and capture continues.';

create or replace function qctl.resume(p_queue text)
returns table (queue_name text, changed boolean, paused_at timestamptz)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_since timestamptz;
begin
  if v_queue.transport = 'pg_net' then
    v_since := (select s.net_held_since from qctl.scheduler s);
    perform qctl._net_free();
  end if;
  select coalesce(g.paused_at, g.opened_at, v_since, case when g.net_hold_until is not null then clock_timestamp() end) into v_since
  from qctl.gate g where g.queue_id = v_queue.queue_id for update;
  if v_since is not null then
    perform qctl._close_breaker(v_queue, 'resumed');
    update qctl.gate g
    set paused_at = null, paused_by = null, pause_reason = null, gone = false, net_timeouts = 0, net_hold_until = null, slow_limit = qctl._slow_start()
    where g.queue_id = v_queue.queue_id;
    perform qctl._audit('resume', p_queue, jsonb_build_object('paused_at', v_since));
    perform qctl._notify(v_queue.queue_id);
  end if;
  return query select p_queue, v_since is not null, v_since;
end
$$;
comment on function qctl.resume(text) is 'Starts claiming again, slowly at first, and closes the circuit breaker.';
