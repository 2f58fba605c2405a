-- The wake: a signed request by pg_net that begins an edge worker, sent only when there is something to do and nobody does it.

create or replace function qctl._edge_workers() returns setof qctl.worker
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select w.* from qctl.edge_wake k join qctl.worker w on w.worker_id = k.worker_id
  where k.sent_at > clock_timestamp() - interval '1 h' and qctl._is_live(w)
$$;
comment on function qctl._edge_workers() is 'The edge workers that run. None lives for an hour.';

create or replace function qctl._edge_demand(p_most integer) returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  -- A worker that keeps up leaves nothing ready for so long.
  c_behind constant interval := '5 s';
  v_running integer;
  v_waiting text[];
  v_name text;
  v_behind boolean;
begin
  -- One that was killed is found after 15 s.
  if exists (select from qctl.worker w where w.stopped_at is null and w.transport = 'http' and w.last_seen_at < clock_timestamp() - interval '15 s') then
    perform qctl.upkeep();
  end if;
  select array_agg(r) into v_waiting
  from qctl.ready_queues(array(select q.queue_name from qctl.queue q where q.transport = 'http' and qctl._carrier(q.url) = 'http')) r;
  if v_waiting is null then
    return 'nothing is ready';
  end if;
  v_running := (select count(*) from qctl._edge_workers());
  if v_running >= p_most then
    return 'enough edge workers run';
  end if;
  foreach v_name in array v_waiting loop
    if not exists (select from qctl.worker w where w.transport = 'http' and v_name = any (w.queues) and qctl._is_live(w)) then
      -- A worker that runs takes up a new queue within 5 s.
      if v_running > 0 and exists (select from qctl.queue q where q.queue_name = v_name and q.created_at > clock_timestamp() - interval '15 s') then
        continue;
      end if;
      return null;
    end if;
    if v_running > 0 and p_most > 1 then
      execute format('select exists (select from pgmq.%I q where q.vt <= $1 order by q.vt limit 1)', 'q_' || v_name)
        into v_behind using clock_timestamp() - c_behind;
      if v_behind then
        return null;
      end if;
    end if;
  end loop;
  return 'a worker runs';
end
$$;
comment on function qctl._edge_demand(integer) is
  'Null if another edge worker should begin, otherwise why not: nothing is ready, or whoever runs keeps up.';

create or replace function qctl._edge_pause(out until timestamptz, out workers integer)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- Of the last wakes those since the last one whose worker claimed something and signed off.
  select max(k.sent_at) + least(interval '10 min', interval '5 s' * 2 ^ count(*)), count(*)
  from (select o.sent_at, bool_or(o.claimed > 0 and o.ended_at is not null) over (order by o.sent_at desc) as worked
        from qctl.edge_wake o where o.used_at is not null and o.sent_at > clock_timestamp() - interval '1 h' order by o.sent_at desc limit 10) k
  where not coalesce(k.worked, false)
  having count(*) > 0
$$;
comment on function qctl._edge_pause() is
  'How long to wait because the last workers claimed nothing, as behind a rate limit, or were killed: it doubles, up to 10 min. Each wake is paid for.';

create or replace function qctl._wake_answer(p_wake qctl.edge_wake, out status integer, out error text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if qctl._net_relation('_http_response') is not null and p_wake.request_id is not null then
    select r.status_code, left(btrim(coalesce(nullif(r.error_msg, ''), case when r.timed_out then 'timeout' end,
                                              case when r.status_code not between 200 and 299 then r.content end)), 300)
    into status, error from net._http_response r where r.id = p_wake.request_id and r.created > p_wake.sent_at - interval '10 s';
    if found and status is null then
      error := coalesce(error, 'no answer');
    end if;
  end if;
exception when insufficient_privilege or undefined_table or invalid_schema_name then
  return;
end
$$;
comment on function qctl._wake_answer(qctl.edge_wake) is 'What pg_net has of the answer to a wake; both null if there is none yet.';

create or replace function qctl._read_wake(p_wake qctl.edge_wake) returns qctl.edge_wake
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  c_within constant interval := '30 s';
  v_status integer;
  v_error text;
  v_there boolean := false;
begin
  select a.status, a.error, a.status is not null or a.error is not null into v_status, v_error, v_there from qctl._wake_answer(p_wake) a;
  if not v_there and p_wake.used_at is null and clock_timestamp() < p_wake.sent_at + c_within then
    return p_wake;
  end if;
  if not v_there and p_wake.used_at is null then
    -- While pg_net stands still wakes would pile up there, and all of them would be sent when it runs again.
    begin
      delete from net.http_request_queue q where q.id = p_wake.request_id;
    exception when insufficient_privilege or undefined_table or invalid_schema_name or lock_not_available then
      null;
    end;
  end if;
  update qctl.edge_wake k
  set answered_at = clock_timestamp(), status = v_status,
      error = case when not v_there and k.used_at is null then 'no answer within 30 s' else v_error end
  where k.wake_id = p_wake.wake_id returning k.* into p_wake;
  return p_wake;
end
$$;
comment on function qctl._read_wake(qctl.edge_wake) is 'The wake with its answer, if it has one by now. A wake without an answer is over after 30 s.';

create or replace function qctl._note_wake(p_wake qctl.edge_wake) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_first boolean;
begin
  if p_wake.used_at is not null then
    update qctl.edge_function e set unanswered = 0, next_at = clock_timestamp();
  elsif p_wake.status = 200 and exists (select from qctl._edge_workers()) then
    update qctl.edge_function e set unanswered = 0, next_at = clock_timestamp() + interval '30 s';
  elsif p_wake.status = 200 then
    -- It reached an isolate whose worker has just ended or whose time is used up: soon the runtime starts another one.
    update qctl.edge_function e set unanswered = e.unanswered + 1, next_at = clock_timestamp() + interval '5 s';
  else
    update qctl.edge_function e
    set unanswered = e.unanswered + 1,
        next_at = p_wake.sent_at + least(interval '10 min', interval '5 s' * 2 ^ least(e.unanswered, 10))
    returning e.unanswered = 3 into v_first;
    if v_first then
      perform qctl._emit('worker.gone', null, jsonb_build_object('workers', jsonb_build_array('edge'), 'queues',
        (select coalesce(jsonb_agg(q.queue_name), '[]') from qctl.queue q where q.transport = 'http')));
    end if;
  end if;
end
$$;
comment on function qctl._note_wake(qctl.edge_wake) is 'After a wake: a pause that doubles, up to 10 min, while no worker begins.';

create or replace function qctl._send_wake(p_url text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id uuid;
  v_stamp text := extract(epoch from clock_timestamp())::bigint;
  v_body jsonb;
  v_signature text;
begin
  insert into qctl.edge_wake default values returning wake_id into v_id;
  v_body := jsonb_build_object('type', 'qctl.wake', 'timestamp', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
  -- pg_net sends the text of jsonb, so that is what is signed.
  select string_agg(qctl._signature(s.inner_pad, s.outer_pad, convert_to(v_id || '.' || v_stamp || '.' || v_body::text, 'UTF8')), ' ' order by s.secret_id desc)
  into v_signature from qctl.edge_secret s where s.expires_at is null or s.expires_at > clock_timestamp();
  update qctl.edge_wake k
  set request_id = net.http_post(url := p_url, body := v_body, timeout_milliseconds := 15000, headers := jsonb_build_object(
        'content-type', 'application/json', 'webhook-id', v_id, 'webhook-timestamp', v_stamp, 'webhook-signature', v_signature))
  where k.wake_id = v_id;
end
$$;
comment on function qctl._send_wake(text) is 'Sends a wake, signed by Standard Webhooks; its webhook-id is the id of the wake.';

create or replace function qctl.wake_edge() returns text
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
declare
  v_edge qctl.edge_function;
  v_wake qctl.edge_wake;
  v_why_not text;
  v_pause record;
begin
  if not pg_try_advisory_xact_lock(qctl._lock_space('singleton'), qctl._lock_key('wake_edge')) then
    return 'another session wakes it';
  end if;
  select * into v_edge from qctl.edge_function;
  if v_edge.url is null or v_edge.stopped_at is not null then
    return 'it is stopped';
  end if;
  if not qctl.is_armed() then
    return 'the database is not armed';
  end if;
  select * into v_wake from qctl.edge_wake k where k.answered_at is null and k.sent_at > clock_timestamp() - interval '1 h' order by k.sent_at desc limit 1;
  if found then
    v_wake := qctl._read_wake(v_wake);
    if v_wake.answered_at is null then
      return 'a wake is in flight';
    end if;
    perform qctl._note_wake(v_wake);
    select * into v_edge from qctl.edge_function;
  end if;
  if not qctl._is_due(v_edge.next_at, clock_timestamp(), interval '11 min') then
    return 'it did not answer, so it is woken again at ' || qctl._shown_time(v_edge.next_at);
  end if;
  select p.* into v_pause from qctl._edge_pause() p;
  if not exists (select from qctl._edge_workers()) and v_pause.until > clock_timestamp() then
    return format('its last %s workers claimed nothing or were killed, so it is woken again at %s', v_pause.workers, qctl._shown_time(v_pause.until));
  end if;
  v_why_not := qctl._edge_demand(v_edge.most);
  if v_why_not is null then
    perform qctl._send_wake(v_edge.url);
  end if;
  return coalesce(v_why_not, 'woken');
end
$$;
comment on function qctl.wake_edge() is
  'Wakes the Edge Function if a message is ready and no worker delivers it, at most one wake at a time. Returns what it did or why it did '
  'nothing. A pg_cron job runs it every 5 s, every minute before pg_cron 1.5; an edge worker that ends runs it too.';
