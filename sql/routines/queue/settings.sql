-- Settings: how a queue delivers. qctl._setting_columns() names the columns of qctl.queue that are settings.

create or replace function qctl.describe(p_queue text)
returns table (queue_id integer, queue_uuid uuid, queue_name text, transport text, url text, headers jsonb, timeout_ms integer, concurrency integer,
               max_in_flight integer, retry_schedule_s integer[], retry_jitter double precision, retry_after_max_s integer, reject_after integer,
               max_lost integer, batch integer, dedicated boolean, trust_location boolean, retention_s integer, created_at timestamptz, created_by text,
               concurrency_auto boolean, rate_per_s double precision, breaker_after integer, breaker_share double precision,
               breaker_pause_max_s integer, expect_text text, expect_json jsonb, ordered boolean, order_schedule_s integer[], on_dead text,
               net_secrets boolean, signing_secrets integer, allow_networks text[], linger_ms integer, log text, archive boolean, broker jsonb)
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
         q.allow_networks::text[], q.linger_ms, q.log, q.archive, q.broker
  from qctl.queue q where q.queue_id = v_queue.queue_id;
end
$$;
comment on function qctl.describe(text) is 'The settings of a queue. Of headers that look like secrets it shows only the names.';

create or replace function qctl._setting_columns() returns table (name text, takes_null boolean)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select a.attname::text, not a.attnotnull from pg_attribute a
  where a.attrelid = 'qctl.queue'::regclass and a.attnum > 0 and not a.attisdropped
    and a.attname not in ('queue_id', 'queue_uuid', 'queue_name', 'url', 'headers', 'created_at', 'created_by')
$$;
comment on function qctl._setting_columns() is 'The columns of qctl.queue that are settings, and whether each accepts null.';

create or replace function qctl._with_settings(p_queue qctl.queue, p_settings jsonb) returns qctl.queue
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settings jsonb;
  v_unknown text;
begin
  select string_agg(k, ', ') into v_unknown from jsonb_object_keys(p_settings) as k
  where k not in (select c.name from qctl._setting_columns() c);
  if v_unknown is not null then
    raise exception '% is not a setting of a queue', quote_literal(v_unknown)
      using errcode = 'QC002', hint = 'the comment of qctl.set_queue() lists the settings: \df+ qctl.set_queue';
  end if;
  -- Null leaves a setting unchanged if it must have a value.
  select coalesce(jsonb_object_agg(s.key, s.value), '{}') into v_settings
  from jsonb_each(p_settings) s join qctl._setting_columns() c on c.name = s.key
  where c.takes_null or s.value <> 'null';
  if v_settings ? 'transport' then
    v_settings := v_settings || jsonb_build_object('transport', (select c.transport from qctl.choose_transport(v_settings ->> 'transport', p_queue.url) c));
  end if;
  -- A concurrency set by hand ends the automatic search for one.
  if v_settings ? 'concurrency' and not v_settings ? 'concurrency_auto' then
    v_settings := v_settings || '{"concurrency_auto": false}';
  end if;
  -- An answer is checked for a text or for a JSON value, not for both, so setting one clears the other.
  if v_settings ? 'expect_text' and not v_settings ? 'expect_json' then
    v_settings := v_settings || '{"expect_json": null}';
  elsif v_settings ? 'expect_json' and not v_settings ? 'expect_text' then
    v_settings := v_settings || '{"expect_text": null}';
  end if;
  return jsonb_populate_record(p_queue, v_settings);
exception when data_exception then
  raise exception 'a setting is out of range or not valid: %', sqlerrm using errcode = 'QC002';
end
$$;
comment on function qctl._with_settings(qctl.queue, jsonb) is 'The queue with these settings changed. Writes nothing.';

create or replace function qctl._apply_settings(p_queue text, p_settings jsonb, p_url_is_new boolean default false) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue qctl.queue;
  v_columns text := (select string_agg(quote_ident(c.name), ', ' order by c.name) from qctl._setting_columns() c);
  v_constraint text;
begin
  select * into v_queue from qctl.queue q where q.queue_name = p_queue;
  v_queue := qctl._with_settings(v_queue, p_settings);
  begin
    execute format('update qctl.queue q set (%1$s) = (select %1$s from (select ($1).*) s) where q.queue_id = $2', v_columns)
      using v_queue, v_queue.queue_id;
  exception when check_violation then
    get stacked diagnostics v_constraint = constraint_name;
    raise exception 'a setting is out of range: %', coalesce(
        (select obj_description(oid, 'pg_constraint') from pg_constraint
         where conname = v_constraint and conrelid = 'qctl.queue'::regclass), v_constraint)
      using errcode = 'QC002';
  end;
  if p_url_is_new or p_settings ?| array['allow_networks', 'transport'] then
    perform qctl._check_address(v_queue);
  end if;
  if p_url_is_new or p_settings ?| array['broker', 'transport', 'expect_text', 'expect_json'] then
    perform qctl._check_broker(v_queue);
  end if;
  if v_queue.transport = 'pg_net' then
    perform qctl._check_net_url(v_queue.url), qctl._check_net_headers(v_queue), qctl._check_net_formats(v_queue);
  end if;
  if p_settings ? 'ordered' then
    if not v_queue.ordered and exists (select from qctl.attachment a where a.queue_id = v_queue.queue_id and a.order_by is not null) then
      raise exception 'queue ''%'' must stay ordered because a table is attached to it with --order-by', p_queue
        using errcode = 'QC007',
              hint = format('detach the table, or attach it again without --order-by; qctl describe %s names it', p_queue);
    end if;
    if v_queue.ordered then
      perform qctl._make_order_index(v_queue);
    else
      perform qctl._show_followers(v_queue);
    end if;
  end if;
  if p_settings ? 'breaker_after' and v_queue.breaker_after = 0 then
    perform qctl._close_breaker(v_queue, 'switched off');
  end if;
end
$$;

create or replace function qctl._endpoint_changed(p_queue_id integer) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  update qctl.gate g
  set failures = 0, failing_since = null, window_at = null, pauses = 0, probe_at = case when g.opened_at is not null then clock_timestamp() end,
      recall_since = to_timestamp(0), recall_after = case when g.opened_at is null then 0 end,
      slow_limit = case when g.opened_at is null then qctl._slow_start() end, net_timeouts = 0, net_hold_until = null
  where g.queue_id = p_queue_id
    and (g.opened_at is not null or g.net_hold_until is not null
         or exists (select from qctl.retry r where r.queue_id = p_queue_id and r.attempts > 0));
  if found then
    perform qctl._notify(p_queue_id);
  end if;
end
$$;
comment on function qctl._endpoint_changed(integer) is
  'Forgets what was learnt of an endpoint whose URL, headers, secrets, timeout or networks changed: an open breaker probes at once, and '
  'messages that failed because of the endpoint become due, page by page.';

create or replace function qctl._forget_old_settings(p_before qctl.queue, p_after qctl.queue) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_before.transport <> p_after.transport then
    update qctl.gate g set moved_at = clock_timestamp() where g.queue_id = p_after.queue_id;
  end if;
  if p_before.rate_per_s is distinct from p_after.rate_per_s then
    update qctl.gate g set paced_at = null where g.queue_id = p_after.queue_id;
  end if;
  if (p_before.url, p_before.headers, p_before.broker, p_before.timeout_ms, p_before.transport, p_before.allow_networks, p_before.expect_text, p_before.expect_json)
     is distinct from
     (p_after.url, p_after.headers, p_after.broker, p_after.timeout_ms, p_after.transport, p_after.allow_networks, p_after.expect_text, p_after.expect_json) then
    perform qctl._endpoint_changed(p_after.queue_id);
  end if;
end
$$;
comment on function qctl._forget_old_settings(qctl.queue, qctl.queue) is
  'Ends what the gate decided by the settings before. The caller holds the gate.';

create or replace function qctl.set_queue(
  p_queue text, p_url text default null, p_headers jsonb default null, p_settings jsonb default '{}')
returns setof qctl.queue
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_after qctl.queue;
  -- A broker takes far more at once than an endpoint, and an endpoint far less than a broker.
  v_settings jsonb := case when (qctl._carrier(p_url) = 'http') <> (qctl._carrier(v_queue.url) = 'http') then qctl._carrier_defaults(p_url) else '{}' end
                      || p_settings;
begin
  -- A claim decides by the settings that it reads under this lock.
  perform from qctl.gate g where g.queue_id = v_queue.queue_id for update;
  select * into v_queue from qctl.queue q where q.queue_id = v_queue.queue_id;
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
  perform qctl._apply_settings(p_queue, v_settings, p_url is not null);
  select * into v_after from qctl.queue q where q.queue_id = v_queue.queue_id;
  perform qctl._forget_old_settings(v_queue, v_after);
  if p_settings ?| array['transport', 'dedicated'] then
    perform qctl._plan_jobs(false);
    perform qctl._notify(v_queue.queue_id);
  end if;
  perform qctl._audit('set', p_queue, v_settings || jsonb_build_object(
    'url', p_url, 'headers', (select jsonb_agg(k) from jsonb_object_keys(p_headers) as k)));
  return query select * from qctl.queue q where q.queue_id = v_queue.queue_id;
end
$$;
comment on function qctl.set_queue(text, text, jsonb, jsonb) is
  'Changes a queue. Headers are merged; a header with value null is removed. Settings: timeout_ms, concurrency, max_in_flight, '
  'retry_schedule_s, retry_jitter, retry_after_max_s, reject_after, max_lost, transport (auto, pg_net, http), batch, dedicated, '
  'trust_location, retention_s (null: forever), concurrency_auto, rate_per_s (null: no limit), breaker_after (0: never), breaker_share, '
  'breaker_pause_max_s, expect_text, expect_json (null: none), ordered, order_schedule_s, on_dead (skip, block), net_secrets, '
  'allow_networks (networks with addresses that are not public), linger_ms (null: the worker decides), log (all, failures), archive, '
  'broker (options of the connection to a broker). The index of an ordered queue: see qctl._order_index.';
