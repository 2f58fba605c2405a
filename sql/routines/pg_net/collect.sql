-- pg_net, the way back: matches answers to the requests of the same epoch, settles them, and decides about requests without an answer.

create or replace function qctl._answers(p_queue_ids integer[], p_margin interval default '10 s', p_lapsed boolean default false)
returns table (queue_id integer, lease uuid[], msg_id bigint[], status integer[], error text[], response bytea[], retry_after_s integer[])
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_nestloop = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
  c_most constant integer := 1000;
  v_now timestamptz := clock_timestamp();
  v_epoch uuid;
begin
  if p_queue_ids is null or not qctl._net_readable() then
    return;
  end if;
  v_epoch := qctl._net_epoch();
  if v_epoch is null then
    return;
  end if;
  return query
  with sent as materialized (
    select f.queue_id, f.msg_id, f.lease, f.request_id, f.claimed_at, q.trust_location,
           case when q.expect_text is null and q.expect_json is null then 4096 else 65536 end as kept
    from qctl.in_flight f join qctl.queue q on q.queue_id = f.queue_id
    where f.epoch = v_epoch and f.request_id is not null and f.queue_id = any (p_queue_ids)
      and case when p_lapsed then f.lapsed_at > v_now - interval '10 min' else f.lapsed_at is null end
  ), answered as materialized (
    select s.queue_id, s.msg_id, s.lease, case when not redirected.it then r.status_code end as status_code,
           case when redirected.it then 'redirected to ' || qctl._header(r.headers, 'location')
                                        || '; a redirect may turn the POST into a GET, so set the URL to that address'
                else coalesce(r.error_msg, case when r.timed_out then 'timeout' end) end as error,
           r.content, r.headers, s.kept
    from net._http_response r join sent s on s.request_id = r.id and r.created >= s.claimed_at - p_margin
    -- pg_net follows redirects and reports the last status with the first headers, so Location shows a redirect. 201 and 202 may have
    -- a Location of their own.
    cross join lateral (
      select r.status_code between 200 and 299 and r.status_code not in (201, 202) and not s.trust_location
             and qctl._header(r.headers, 'location') is not null as it) redirected
    where r.created >= greatest((select min(o.claimed_at) from sent o) - p_margin, (select e.began_at from qctl.net_epoch e))
    limit c_most
  )
  select a.queue_id, array_agg(a.lease), array_agg(a.msg_id), array_agg(a.status_code),
         array_agg(case when a.status_code is null then coalesce(a.error, 'no answer') end),
         array_agg(qctl._octets(a.content, a.kept)), array_agg(qctl._retry_after_s(a.headers, v_now))
  from answered a group by a.queue_id;
exception when others then
  perform qctl._audit_rarely('collect_failed', null, sqlstate, sqlerrm);
end
$$;
comment on function qctl._answers(integer[], interval, boolean) is
  'The answers of pg_net to attempts of these queues, one row per queue. p_lapsed: answers to '
  'attempts that lapsed within 10 minutes instead of live ones. p_margin: how far an answer may be '
  'dated before its claim, because pg_net dates answers by the start of their batch.';

create or replace function qctl._settle_answers(
  p_queue_id integer, p_lease uuid[], p_msg_id bigint[], p_status integer[], p_error text[], p_response bytea[],
  p_retry_after_s integer[])
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
declare
  c_in_a_row constant integer := 2;
  v_queue qctl.queue;
  v_timeouts integer;
  v_answered integer;
  v_more integer;
begin
  select * into v_queue from qctl.queue q where q.queue_id = p_queue_id;
  if not found or to_regclass(format('pgmq.%I', 'q_' || v_queue.queue_name)) is null
     or not pg_try_advisory_xact_lock(qctl._lock_space('settle_answers'), p_queue_id) then
    return 0;
  end if;
  perform qctl.settle(v_queue.queue_name, p_lease, p_msg_id, p_status, p_error, p_response,
                      array_fill(null::integer, array[cardinality(p_msg_id)]), p_retry_after_s);

  -- A request that hangs holds up the batch of all queues, so an endpoint that only times out gets one request at a time.
  select count(*) filter (where a.status is null and a.error ~* '^timeout'), count(a.status) into v_timeouts, v_answered
  from unnest(p_status, p_error) as a (status, error);
  if v_answered > 0 then
    update qctl.gate g set net_timeouts = 0, net_hold_until = null where g.queue_id = p_queue_id and g.net_timeouts > 0;
  elsif v_timeouts > 0 then
    update qctl.gate g
    set net_timeouts = case when g.net_timeouts < c_in_a_row then least(g.net_timeouts + v_timeouts, c_in_a_row) else least(g.net_timeouts + 1, 20) end
    where g.queue_id = p_queue_id returning g.net_timeouts - c_in_a_row into v_more;
    if v_more >= 0 and v_queue.breaker_after > 0 then
      update qctl.gate g
      set net_hold_until = clock_timestamp()
            + least(interval '10 min', make_interval(secs => v_queue.timeout_ms / 1000.0 * 5 * 2 ^ least(v_more, 8)))
      where g.queue_id = p_queue_id;
      perform qctl._take_back(v_queue, '0 s');
    end if;
  end if;
  return cardinality(p_msg_id);
exception when others then
  perform qctl._audit_rarely('collect_failed', v_queue.queue_name, sqlstate, sqlerrm);
  return 0;
end
$$;
comment on function qctl._settle_answers(integer, uuid[], bigint[], integer[], text[], bytea[], integer[]) is
  'Settles answers of one queue and returns how many. An error is recorded and does not stop other queues.';

create or replace function qctl.collect(p_queue text) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_lapsed boolean;
  v_count integer;
  v_sum integer := 0;
begin
  foreach v_lapsed in array array[false, true] loop
    select sum(qctl._settle_answers(a.queue_id, a.lease, a.msg_id, a.status, a.error, a.response, a.retry_after_s)) into v_count
    from qctl._answers(array[v_queue.queue_id], '5 min', v_lapsed) a;
    v_sum := v_sum + coalesce(v_count, 0);
  end loop;
  perform qctl._net_review(v_queue);
  return v_sum;
end
$$;
comment on function qctl.collect(text) is
  'Settles the answers that pg_net has for a queue, including late ones, and decides about requests without an answer. '
  'Returns the number of answers.';

create or replace function qctl._take_back(p_queue qctl.queue, p_after interval) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_epoch uuid := qctl._net_epoch();
  v_ids bigint[];
  v_waiting bigint[];
  v_back bigint[];
  v_count integer;
begin
  -- Locks the rows of the messages first: pg_net waits for locked rows of its own queue, so this must not wait while it holds those.
  select array_agg(f.msg_id) into v_ids from qctl.in_flight f
  where f.queue_id = p_queue.queue_id and f.lapsed_at is null and f.epoch = v_epoch and f.request_id is not null
    and f.claimed_at <= clock_timestamp() - p_after;
  if v_ids is null then
    return 0;
  end if;
  execute format('select array_agg(x.msg_id) from (select q.msg_id from pgmq.%I q where q.msg_id = any ($1)
                  order by q.msg_id for update skip locked) x', 'q_' || p_queue.queue_name) into v_ids using v_ids;
  select array_agg(f.request_id) into v_waiting from qctl.in_flight f
  where f.queue_id = p_queue.queue_id and f.lapsed_at is null and f.epoch = v_epoch and f.msg_id = any (v_ids);
  if v_waiting is null then
    return 0;
  end if;
  -- pg_net has locked or deleted the rows of its current batch, so only requests that it has not started can be taken back.
  with unstarted as materialized (
    select h.ctid from net.http_request_queue h where h.id = any (v_waiting) for update skip locked
  ), back as (
    delete from net.http_request_queue h where h.ctid = any (array(select u.ctid from unstarted u)) returning h.id
  )
  select array_agg(b.id) into v_back from back b;
  if v_back is null then
    return 0;
  end if;
  select qctl.release(p_queue.queue_name, array_agg(f.lease), array_agg(f.msg_id)) into v_count
  from qctl.in_flight f
  where f.queue_id = p_queue.queue_id and f.lapsed_at is null and f.epoch = v_epoch and f.request_id = any (v_back);
  return v_count;
exception when insufficient_privilege then
  return 0;
end
$$;
comment on function qctl._take_back(qctl.queue, interval) is
  'Deletes requests from pg_net''s queue that it has not started that long '
  'after the claim, and releases their messages without an attempt.';

create or replace function qctl._net_review(p_queue qctl.queue)
returns table (other_epoch integer, taken_back integer, missing integer)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
declare
  c_start constant interval := '60 s';
  v_now timestamptz := clock_timestamp();
  v_epoch uuid;
begin
  other_epoch := 0;
  taken_back := 0;
  missing := 0;
  if to_regclass(format('pgmq.%I', 'q_' || p_queue.queue_name)) is null then
    perform qctl._lapse_gone(p_queue);
    return next;
    return;
  elsif not qctl._net_readable() then
    return next;
    return;
  end if;
  v_epoch := qctl._net_epoch();

  update qctl.in_flight f set expires_at = f.claimed_at - interval '1 day'
  from (select o.queue_id, o.msg_id, o.lease from qctl.in_flight o
        where o.queue_id = p_queue.queue_id and o.lapsed_at is null and o.request_id is not null
          and o.epoch is distinct from v_epoch
        order by o.msg_id for update skip locked) as o
  where f.queue_id = o.queue_id and f.msg_id = o.msg_id and f.lease = o.lease;
  get diagnostics other_epoch = row_count;

  if v_epoch is not null then
    missing := qctl._expire_missing(p_queue, v_epoch, v_now - c_start);
  end if;
  if other_epoch + missing > 0 then
    perform qctl._lapse(p_queue, v_now);
  end if;
  if v_epoch is not null then
    taken_back := qctl._take_back(p_queue, c_start);
    if taken_back > 0 and not exists (select from net._http_response r where r.created > v_now - c_start) then
      perform qctl._net_hold('pg_net has started no request for 60 s');
    end if;
  end if;
  return next;
end
$$;
comment on function qctl._net_review(qctl.queue) is
  'Decides about the pg_net requests of a queue that have no answer: those of another epoch lapse at once, those not started within 60 s '
  'are taken back, and those in neither table of pg_net lapse 60 s after their timeout.';

create or replace function qctl._expire_missing(p_queue qctl.queue, p_epoch uuid, p_before timestamptz) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_nestloop = off
set enable_seqscan = off
set jit = off
as $$
declare
  v_request_ids bigint[];
  v_since timestamptz;
  v_count integer;
begin
  select array_agg(f.request_id), min(f.claimed_at) - interval '5 min' into v_request_ids, v_since from qctl.in_flight f
  where f.queue_id = p_queue.queue_id and f.lapsed_at is null and f.epoch = p_epoch and f.request_id is not null
    and f.claimed_at < p_before - make_interval(secs => p_queue.timeout_ms / 1000.0);
  if v_request_ids is null then
    return 0;
  end if;
  -- One statement has one snapshot, so a request found in neither table was in neither at the same instant.
  with gone as materialized (
    select o.id from unnest(v_request_ids) as o (id)
    where not exists (select from net.http_request_queue h where h.id = o.id)
      and not exists (select from net._http_response r where r.id = o.id and r.created >= v_since)
  )
  update qctl.in_flight f set expires_at = f.claimed_at - interval '1 day' from gone g
  where f.queue_id = p_queue.queue_id and f.epoch = p_epoch and f.request_id = g.id and f.lapsed_at is null;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
comment on function qctl._expire_missing(qctl.queue, uuid, timestamptz) is
  'Marks requests that are in neither table of pg_net and whose timeout ended before p_before; returns how many.';
