-- Queues: create, set, pause, resume, and finding them by name.

create or replace function qctl._queue(p_queue text) returns qctl.queue
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue qctl.queue;
begin
  select * into v_queue from qctl.queue where queue_name = p_queue;
  if not found then
    raise exception 'no queue named %', quote_literal(coalesce(p_queue, ''))
      using errcode = 'QC006',
            hint = coalesce('queues here: ' || (select string_agg(queue_name, ', ' order by queue_name) from qctl.queue),
                            'no queue exists yet: qctl create NAME --url URL');
  end if;
  return v_queue;
end
$$;
comment on function qctl._queue(text) is 'The queue of that name, or error QC006 that lists the names there are.';

create or replace function qctl.describe(p_queue text)
returns table (queue_id integer, queue_uuid uuid, queue_name text, transport text, url text, headers jsonb, timeout_ms integer, concurrency integer,
               max_in_flight integer, retry_schedule_s integer[], retry_jitter double precision, retry_after_max_s integer, reject_after integer,
               max_lost integer, batch integer, dedicated boolean, trust_location boolean, retention_s integer, created_at timestamptz, created_by text,
               concurrency_auto boolean, rate_per_s double precision, breaker_after integer, breaker_share double precision,
               breaker_pause_max_s integer, expect_text text, expect_json jsonb, ordered boolean, order_schedule_s integer[], on_dead text,
               net_secrets boolean, signing_secrets integer, allow_networks text[])
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  return query
  select q.queue_id, q.queue_uuid, q.queue_name, q.transport, q.url, qctl._shown_headers(q.headers), q.timeout_ms, q.concurrency, q.max_in_flight,
         q.retry_schedule_s, q.retry_jitter, q.retry_after_max_s, q.reject_after, q.max_lost, q.batch, q.dedicated, q.trust_location, q.retention_s,
         q.created_at, q.created_by, q.concurrency_auto, q.rate_per_s, q.breaker_after, q.breaker_share, q.breaker_pause_max_s, q.expect_text,
         q.expect_json, q.ordered, q.order_schedule_s, q.on_dead, q.net_secrets,
         (select count(*)::integer from qctl.signing_secret s where s.queue_id = q.queue_id and (s.expires_at is null or s.expires_at > clock_timestamp())),
         q.allow_networks::text[]
  from qctl.queue q where q.queue_id = v_queue.queue_id;
end
$$;
comment on function qctl.describe(text) is 'A queue''s settings. Headers that look like secrets come by name only.';

create or replace function qctl._check_name(p_queue text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_queue is null or p_queue !~ '^[a-z_][a-z0-9_]{0,46}$' then
    raise exception 'not a queue name: %', quote_literal(coalesce(left(p_queue, 100), ''))
      using errcode = 'QC002',
            hint = 'a name is 1 to 47 of a-z, 0-9 and _, and begins with a letter or _';
  end if;
end
$$;

create or replace function qctl.create_queue(
  p_queue text, p_url text, p_headers jsonb default '{}', p_settings jsonb default '{}', p_waiting text default null,
  p_take_over boolean default false, p_ignore_readers boolean default false)
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
    raise exception 'not a choice for waiting messages: %', quote_literal(left(p_waiting, 100))
      using errcode = 'QC002', hint = 'deliver or skip';
  end if;
  select c.transport, c.reason into v_transport, v_reason
  from qctl.choose_transport(coalesce(p_settings ->> 'transport', 'auto')) c;
  perform pg_advisory_xact_lock(hashtextextended('qctl.create_queue', 0));
  if exists (select from qctl.queue q where q.queue_name = p_queue) then
    raise exception 'queue % exists already', p_queue
      using errcode = 'QC007', hint = format('to change it: qctl set -q %s …; to see it: qctl describe %s', p_queue, p_queue);
  end if;

  select m.is_partitioned, m.is_unlogged into v_meta from pgmq.meta m where m.queue_name = p_queue;
  v_exists := found;
  if v_exists then
    if v_meta.is_partitioned or v_meta.is_unlogged then
      raise exception 'pgmq queue % is %', p_queue, case when v_meta.is_unlogged then 'unlogged' else 'partitioned' end
        using errcode = 'QC007',
              detail = case when v_meta.is_unlogged then 'An unlogged queue loses its messages in a crash.'
                       else 'Retention of a partitioned queue drops messages that were never delivered.' end,
              hint = 'make a plain one under another name and move the messages';
    end if;
    execute format('select count(*) from pgmq.%I', 'q_' || p_queue) into v_waiting;
    if p_take_over then
      v_switched_off := qctl._take_over(p_queue);
    elsif not p_ignore_readers then
      perform qctl._refuse_other_readers(p_queue);
    end if;
    if p_waiting is null and v_waiting > 0 then
      raise exception 'pgmq queue % exists already and holds % messages', p_queue, v_waiting
        using errcode = 'QC007',
              hint = 'to deliver them to this endpoint: --waiting deliver; to archive them undelivered: --waiting skip';
    elsif p_waiting = 'skip' then
      v_skipped := qctl._skip_waiting(p_queue);
    end if;
  else
    v_archived := to_regclass(format('pgmq.%I', 'a_' || p_queue)) is not null;
    perform pgmq.create(p_queue);
    if v_archived then
      -- The archive of a queue that was dropped: numbers go on behind it.
      execute format('select coalesce(max(msg_id), 0) from pgmq.%I', 'a_' || p_queue) into v_last;
      if v_last > 0 then
        perform setval(pg_get_serial_sequence(format('pgmq.%I', 'q_' || p_queue), 'msg_id'), v_last);
      end if;
    end if;
  end if;
  execute format('alter table pgmq.%I set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, '
                 'autovacuum_vacuum_cost_delay = 0)', 'q_' || p_queue);

  -- The history of an adopted or dropped queue is its owner's; a new one's would grow for ever. On pg_net a slow request stalls those of all.
  insert into qctl.queue (queue_name, url, headers, timeout_ms, retention_s)
  values (p_queue, p_url, qctl._lower_keys(p_headers), case v_transport when 'pg_net' then 5000 else 15000 end,
          case when not v_exists and not v_archived then 7 * 86400 end)
  returning queue_id into v_queue_id;
  insert into qctl.gate (queue_id) values (v_queue_id);
  perform qctl._apply_settings(p_queue, p_settings || jsonb_build_object('transport', v_transport), true);
  perform qctl._warn_of_missing_secrets(p_headers);
  perform qctl._make_status_view(p_queue);
  perform qctl._plan_jobs();
  perform qctl._audit('create', p_queue, p_settings || jsonb_build_object(
    'url', p_url, 'adopted', v_exists, 'transport', v_transport, 'skipped', nullif(v_skipped, 0),
    'switched_off', nullif(to_jsonb(v_switched_off), '[]')));
  return query select p_queue, not v_exists, v_waiting, v_skipped, v_transport, v_reason, v_switched_off;
end
$$;
comment on function qctl.create_queue(text, text, jsonb, jsonb, text, boolean, boolean) is
  'Makes a pgmq queue, or adopts one, with its endpoint. p_waiting says what becomes of messages that wait in an adopted one: '
  'deliver, or skip: to the archive. p_take_over switches off cron jobs that take messages from it, p_ignore_readers lets them be. '
  'Settings: see qctl.set_queue.';

create or replace function qctl._apply_settings(p_queue text, p_settings jsonb, p_url_is_new boolean default false) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_unknown text;
  v_constraint text;
  v_transport text;
begin
  select string_agg(k, ', ') into v_unknown from jsonb_object_keys(p_settings) as k
  where k not in ('timeout_ms', 'concurrency', 'concurrency_auto', 'max_in_flight', 'retry_schedule_s', 'retry_jitter',
                  'retry_after_max_s', 'reject_after', 'max_lost', 'transport', 'batch', 'dedicated', 'trust_location', 'retention_s',
                  'rate_per_s', 'breaker_after', 'breaker_share', 'breaker_pause_max_s', 'expect_text', 'expect_json', 'ordered',
                  'order_schedule_s', 'on_dead', 'net_secrets', 'allow_networks');
  if v_unknown is not null then
    raise exception 'no such setting: %', v_unknown using errcode = 'QC002';
  end if;
  if p_settings ? 'transport' then
    select c.transport into v_transport from qctl.choose_transport(p_settings ->> 'transport') c;
  end if;
  begin
    update qctl.queue q set
      timeout_ms        = coalesce((p_settings ->> 'timeout_ms')::integer, q.timeout_ms),
      concurrency       = coalesce((p_settings ->> 'concurrency')::integer, q.concurrency),
      max_in_flight     = coalesce((p_settings ->> 'max_in_flight')::integer, q.max_in_flight),
      retry_schedule_s  = case when p_settings ? 'retry_schedule_s'
                               then array(select e::integer from jsonb_array_elements_text(p_settings -> 'retry_schedule_s') as e)
                               else q.retry_schedule_s end,
      retry_jitter      = coalesce((p_settings ->> 'retry_jitter')::double precision, q.retry_jitter),
      retry_after_max_s = coalesce((p_settings ->> 'retry_after_max_s')::integer, q.retry_after_max_s),
      reject_after      = coalesce((p_settings ->> 'reject_after')::integer, q.reject_after),
      max_lost          = coalesce((p_settings ->> 'max_lost')::integer, q.max_lost),
      transport         = coalesce(v_transport, q.transport),
      batch             = coalesce((p_settings ->> 'batch')::integer, q.batch),
      dedicated         = coalesce((p_settings ->> 'dedicated')::boolean, q.dedicated),
      trust_location    = coalesce((p_settings ->> 'trust_location')::boolean, q.trust_location),
      retention_s       = case when p_settings ? 'retention_s' then (p_settings ->> 'retention_s')::integer else q.retention_s end,
      -- A number of one's own ends the search for it.
      concurrency_auto  = coalesce((p_settings ->> 'concurrency_auto')::boolean, q.concurrency_auto and not p_settings ? 'concurrency'),
      rate_per_s        = case when p_settings ? 'rate_per_s' then (p_settings ->> 'rate_per_s')::double precision else q.rate_per_s end,
      breaker_after     = coalesce((p_settings ->> 'breaker_after')::integer, q.breaker_after),
      breaker_share     = coalesce((p_settings ->> 'breaker_share')::double precision, q.breaker_share),
      breaker_pause_max_s = coalesce((p_settings ->> 'breaker_pause_max_s')::integer, q.breaker_pause_max_s),
      expect_text       = case when p_settings ? 'expect_text' then p_settings ->> 'expect_text'
                               when p_settings ? 'expect_json' then null else q.expect_text end,
      expect_json       = case when p_settings ? 'expect_json' then nullif(p_settings -> 'expect_json', 'null')
                               when p_settings ? 'expect_text' then null else q.expect_json end,
      ordered           = coalesce((p_settings ->> 'ordered')::boolean, q.ordered),
      order_schedule_s  = case when p_settings ? 'order_schedule_s'
                               then array(select e::integer from jsonb_array_elements_text(p_settings -> 'order_schedule_s') as e)
                               else q.order_schedule_s end,
      on_dead           = coalesce(p_settings ->> 'on_dead', q.on_dead),
      net_secrets       = coalesce((p_settings ->> 'net_secrets')::boolean, q.net_secrets),
      allow_networks    = case when p_settings ? 'allow_networks'
                               then array(select e::cidr from jsonb_array_elements_text(p_settings -> 'allow_networks') as e)
                               else q.allow_networks end
    where q.queue_name = p_queue;
  exception
    when check_violation then
      get stacked diagnostics v_constraint = constraint_name;
      raise exception 'a setting is out of range: %', coalesce(
          (select obj_description(oid, 'pg_constraint') from pg_constraint
           where conname = v_constraint and conrelid = 'qctl.queue'::regclass), v_constraint)
        using errcode = 'QC002';
    when data_exception then
      raise exception 'a setting is out of range or no number: %', sqlerrm using errcode = 'QC002';
  end;
  perform qctl._check_address(q) from qctl.queue q where q.queue_name = p_queue and (p_settings ?| array['allow_networks', 'transport'] or p_url_is_new);
  perform qctl._check_net_url(q.url), qctl._check_net_headers(q)
  from qctl.queue q where q.queue_name = p_queue and q.transport = 'pg_net';
  if p_settings ? 'ordered' then
    if not (p_settings ->> 'ordered')::boolean and exists (select from qctl.attachment a join qctl.queue q using (queue_id)
                                                           where q.queue_name = p_queue and a.order_by is not null) then
      raise exception 'a table is attached to % with --order-by', p_queue
        using errcode = 'QC007', hint = 'detach it, or attach it anew without: qctl describe ' || p_queue;
    end if;
    perform qctl._order_index(q, q.ordered) from qctl.queue q where q.queue_name = p_queue;
  end if;
  if (p_settings ->> 'breaker_after')::integer = 0 then
    perform qctl._close_breaker(q, 'switched off') from qctl.queue q where q.queue_name = p_queue;
  end if;
end
$$;

create or replace function qctl.set_queue(
  p_queue text, p_url text default null, p_headers jsonb default null, p_settings jsonb default '{}')
returns setof qctl.queue
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
begin
  if p_url is not null then
    perform qctl._check_url(p_url);
    update qctl.queue q set url = p_url where q.queue_id = v_queue.queue_id;
  end if;
  if p_headers is not null then
    perform qctl._check_headers(jsonb_strip_nulls(p_headers));
    update qctl.queue q set headers = jsonb_strip_nulls(q.headers || qctl._lower_keys(p_headers))
    where q.queue_id = v_queue.queue_id;
    perform qctl._warn_of_missing_secrets(p_headers);
  end if;
  perform qctl._apply_settings(p_queue, p_settings, p_url is not null);
  if p_settings ?| array['transport', 'dedicated'] then
    perform qctl._plan_jobs();
    perform qctl._notify(v_queue.queue_id);
  end if;
  perform qctl._audit('set', p_queue, p_settings || jsonb_build_object(
    'url', p_url, 'headers', (select jsonb_agg(k) from jsonb_object_keys(p_headers) as k)));
  return query select * from qctl.queue q where q.queue_id = v_queue.queue_id;
end
$$;
comment on function qctl.set_queue(text, text, jsonb, jsonb) is
  'Changes a queue. Headers are merged; one with value null goes. Settings: timeout_ms, concurrency, max_in_flight, '
  'retry_schedule_s, retry_jitter, retry_after_max_s, reject_after, max_lost, transport (auto, pg_net, http), batch, dedicated, '
  'trust_location, retention_s (null: for ever), concurrency_auto, rate_per_s (null: no limit), breaker_after (0: never), breaker_share, '
  'breaker_pause_max_s, expect_text, expect_json (null: none), ordered, order_schedule_s, on_dead (skip, block), net_secrets, '
  'allow_networks (of addresses that are not public).';

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
comment on function qctl.pause(text, text) is 'Stops claiming; what is in flight settles, capture goes on.';

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
comment on function qctl.resume(text) is 'Lets workers claim again, slowly at first; closes the breaker.';
