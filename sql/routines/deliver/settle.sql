-- Settle: applies the answers of the endpoint to the messages. qctl._judge decides, and a function per outcome in outcome.sql applies it.

create or replace function qctl.settle(
  p_queue text, p_lease uuid[], p_msg_id bigint[], p_status integer[], p_error text[], p_response bytea[],
  p_duration_ms integer[], p_retry_after_s integer[])
returns table (delivered integer, retrying integer, dead integer, paused integer, late integer, unknown integer, failed integer)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_queue qctl.queue := qctl._queue(p_queue);
  v_count integer := cardinality(p_msg_id);
  v_half integer := cardinality(p_msg_id) / 2;
  v_simple record;
  v_kept boolean := qctl._has_queue_functions(v_queue.queue_uuid);
  v_state text;
  v_message text;
begin
  if v_count is null or v_count = 0 then
    return query select 0, 0, 0, 0, 0, 0, 0;
    return;
  end if;
  loop
    begin
      select * into v_simple from qctl._settle_simple(v_queue, p_lease, p_msg_id, p_status, p_response, p_duration_ms, v_kept);
      if v_simple.delivered = v_count then
        perform qctl._record_answers(v_queue, (v_count, 0, 0, null, null, null, null)::qctl.answer_counts);
        return query select v_count, 0, 0, 0, 0, 0, 0;
      else
        return query select s.*, 0 from qctl._settle_rest(v_queue, p_lease, p_msg_id, p_status, p_error, p_response, p_duration_ms,
                                                          p_retry_after_s, false, v_simple.delivered, v_simple.settled_at) as s;
      end if;
      return;
    exception when data_exception or integrity_constraint_violation or program_limit_exceeded or plpgsql_error
                   or cardinality_violation or syntax_error_or_access_rule_violation or internal_error or feature_not_supported then
      get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
      if not v_kept then
        if left(v_state, 2) in ('42', 'XX', '0A') then
          raise;
        end if;
        exit;
      end if;
      -- The functions may not fit pgmq's tables any more, or somebody has just dropped them.
      v_kept := false;
    end;
  end loop;
  -- Sorted by msg_id so that two settlers that halve overlapping batches lock the messages in the same order.
  select array_agg(a.lease order by a.msg_id, a.lease), array_agg(a.msg_id order by a.msg_id, a.lease),
         array_agg(a.status order by a.msg_id, a.lease), array_agg(a.error order by a.msg_id, a.lease),
         array_agg(a.response order by a.msg_id, a.lease), array_agg(a.duration_ms order by a.msg_id, a.lease),
         array_agg(a.retry_after_s order by a.msg_id, a.lease)
  into p_lease, p_msg_id, p_status, p_error, p_response, p_duration_ms, p_retry_after_s
  from unnest(p_lease, p_msg_id, p_status, p_error, p_response, p_duration_ms, p_retry_after_s)
    as a (lease, msg_id, status, error, response, duration_ms, retry_after_s);
  -- Halve the batch until the failing row is alone, so it harms no other. Its lease lapses, so it is retried and becomes dead at last.
  if v_count = 1 then
    perform qctl._audit_rarely('settle_failed', p_queue, v_state, format('message %s: %s', p_msg_id[1], v_message));
    return query select 0, 0, 0, 0, 0, 0, 1;
    return;
  end if;
  return query
  select sum(h.delivered)::integer, sum(h.retrying)::integer, sum(h.dead)::integer, sum(h.paused)::integer,
         sum(h.late)::integer, sum(h.unknown)::integer, sum(h.failed)::integer
  from (
    select * from qctl.settle(p_queue, p_lease[:v_half], p_msg_id[:v_half], p_status[:v_half], p_error[:v_half],
                              p_response[:v_half], p_duration_ms[:v_half], p_retry_after_s[:v_half])
    union all
    select * from qctl.settle(p_queue, p_lease[v_half + 1:], p_msg_id[v_half + 1:], p_status[v_half + 1:],
                              p_error[v_half + 1:], p_response[v_half + 1:], p_duration_ms[v_half + 1:],
                              p_retry_after_s[v_half + 1:])
  ) as h;
end
$$;
comment on function qctl.settle(text, uuid[], bigint[], integer[], text[], bytea[], integer[], integer[]) is
  'Applies answers by (lease, msg_id): archives the message, schedules its next attempt or makes it a dead letter, and logs the attempt. '
  'Idempotent. A null status is a timeout or a connection error. Returns the number of messages by result.';

create or replace function qctl._settle_simple(
  p_queue qctl.queue, p_lease uuid[], p_msg_id bigint[], p_status integer[], p_response bytea[], p_duration_ms integer[], p_kept boolean)
returns table (delivered integer, settled_at timestamptz)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_gate qctl.gate;
  v_lease uuid[];
  v_ids bigint[];
  v_times timestamptz[];
  v_status integer[];
  v_response bytea[];
  v_duration_ms integer[];
  v_receipts boolean := qctl._carrier(p_queue.url) <> 'http';
  v_receipt text[];
  v_worker_id bigint;
  v_places tid[];
  v_archived bigint;
begin
  select * into v_gate from qctl.gate g where g.queue_id = p_queue.queue_id;
  if p_queue.ordered or p_queue.expect_text is not null or p_queue.expect_json is not null or v_gate.opened_at is not null then
    return;
  end if;
  if p_kept then
    execute format('select * from %s($1, $2, $3, $4, $5)', qctl._queue_function('lock', p_queue.queue_uuid))
    into v_lease, v_ids, v_times, v_places, v_status, v_response, v_duration_ms
    using p_lease, p_msg_id, p_status, p_response, p_duration_ms;
  else
    execute format($q$
      select array_agg(l.lease), array_agg(l.msg_id), array_agg(l.enqueued_at), array_agg(l.place), array_agg(l.status), array_agg(l.response), array_agg(l.duration_ms)
      from (select a.*, q.enqueued_at, q.ctid as place
            from unnest($1, $2, $3, $4, $5) as a (lease, msg_id, status, response, duration_ms) join pgmq.%I q on q.msg_id = a.msg_id
            order by q.msg_id for update of q) l
    $q$, 'q_' || p_queue.queue_name)
    into v_lease, v_ids, v_times, v_places, v_status, v_response, v_duration_ms
    using p_lease, p_msg_id, p_status, p_response, p_duration_ms;
  end if;
  settled_at := clock_timestamp();
  perform qctl._hold_archive(p_queue.queue_name);
  -- One lookup per answer, whatever the size of the tables was when the plan was made; with a join the planner would choose the order.
  with tried as materialized (
    select a.msg_id, a.status, a.response, a.duration_ms, a.place as queued, f.place, f.worker_id, f.transport, f.claimed_at
    from unnest(v_lease, v_ids, v_times, v_places, v_status, v_response, v_duration_ms)
      as a (lease, msg_id, enqueued_at, place, status, response, duration_ms)
    cross join lateral (
      select f.ctid as place, f.worker_id, f.transport, f.claimed_at from qctl.in_flight f
      where f.queue_id = p_queue.queue_id and f.msg_id = a.msg_id and f.lease = a.lease and f.enqueued_at = a.enqueued_at
        and f.lapsed_at is null and f.delivery_no = 1 and f.attempt_no = 1
      -- Locked because the end of an epoch lapses leases without locking the rows of the queue.
      offset 0 for update) f
    where qctl._is_success(a.status) and not qctl._is_starting(a.response)
      and (select count(*) from qctl.retry r where r.queue_id = p_queue.queue_id and r.msg_id = a.msg_id) = 0
  ), closed as (
    delete from qctl.in_flight f where f.ctid = any (array(select t.place from tried t)) returning 1
  ), logged as (
    insert into qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, worker_id, transport, claimed_at,
                              settled_at, duration_ms, status_code, response, stands_for)
    select p_queue.queue_id, t.msg_id, 1, 1, 'delivered', t.worker_id, t.transport, t.claimed_at, settled_at, t.duration_ms, t.status,
           qctl._response_text(t.response), case when p_queue.log = 'all' then 1 else (select count(*) from closed) end
    from tried t
    -- The highest: the log knows up to which number messages have come.
    where p_queue.log = 'all' or t.msg_id = (select max(m.msg_id) from tried m)
    on conflict do nothing
  )
  -- Counts leases, because one answer may be here twice.
  select array_agg(t.msg_id), array_agg(t.queued), array_agg(t.status), case when v_receipts then array_agg(qctl._response_text(t.response)) end, min(t.worker_id),
         (select count(*) from closed)
  into v_ids, v_places, v_status, v_receipt, v_worker_id, delivered from tried t;
  if delivered = 0 then
    return next;
    return;
  end if;
  if p_kept and p_queue.archive and not v_receipts then
    execute format('select %s($1, $2, $3, $4)', qctl._queue_function('archive', p_queue.queue_uuid))
    into v_archived using v_places, v_ids, v_status, settled_at;
    if v_archived = delivered then
      return next;
      return;
    end if;
  end if;
  -- Also what another reader of pgmq has moved within the table since it was locked.
  if not p_queue.archive then
    execute format('delete from pgmq.%I q where q.msg_id = any ($1)', 'q_' || p_queue.queue_name) using v_ids;
  else
    execute format($q$
      with done as (
        delete from pgmq.%1$I q using unnest($1, $2, $4) as t (msg_id, status, receipt) where q.msg_id = t.msg_id
        returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers, t.status, t.receipt
      )
      insert into pgmq.%2$I as a (msg_id, read_ct, enqueued_at, archived_at, vt, message, headers)
      select d.msg_id, d.read_ct, d.enqueued_at, $3, d.vt, d.message,
             case when jsonb_typeof(d.headers) = 'object' then d.headers else '{}' end
             || jsonb_build_object('qctl', jsonb_build_object('outcome', 'delivered', 'delivered_at', $3, 'status', d.status,
                                                              'attempts', 1, 'delivery_no', 1)%4$s)
      from done d %3$s
    $q$, 'q_' || p_queue.queue_name, 'a_' || p_queue.queue_name, qctl._archive_conflict(p_queue.queue_name),
      case when v_receipts then ' || jsonb_strip_nulls(jsonb_build_object(''worker'', $5, ''receipt'', d.receipt))' else '' end)
    using v_ids, v_status, settled_at, v_receipt, case when v_receipts then (select w.name from qctl.worker w where w.worker_id = v_worker_id) end;
  end if;
  return next;
end
$$;
comment on function qctl._settle_simple(qctl.queue, uuid[], bigint[], integer[], bytea[], integer[], boolean) is
  'Settles successes of first attempts, the most frequent answers, in a statement that costs two thirds of the general one. '
  'Returns how many it settled, and when. qctl._settle_rest settles the others. p_kept: by the functions of the queue, whose plans are kept.';

create or replace function qctl._settle(
  p_queue qctl.queue, p_lease uuid[], p_msg_id bigint[], p_status integer[], p_error text[], p_response bytea[],
  p_duration_ms integer[], p_retry_after_s integer[], p_oversize boolean default false)
returns table (delivered integer, retrying integer, dead integer, paused integer, late integer, unknown integer)
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select * from qctl._settle_rest(p_queue, p_lease, p_msg_id, p_status, p_error, p_response, p_duration_ms, p_retry_after_s, p_oversize, 0, null)
$$;

comment on function qctl._settle(qctl.queue, uuid[], bigint[], integer[], text[], bytea[], integer[], integer[], boolean) is
  'Settles without the fast path: messages that pg_net cannot carry and, for one release, calls of 0.6.0 that run during an upgrade.';

create or replace function qctl._settle_rest(
  p_queue qctl.queue, p_lease uuid[], p_msg_id bigint[], p_status integer[], p_error text[], p_response bytea[],
  p_duration_ms integer[], p_retry_after_s integer[], p_oversize boolean, p_simple integer, p_simple_at timestamptz)
returns table (delivered integer, retrying integer, dead integer, paused integer, late integer, unknown integer)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
  v_probe_lease uuid := (select g.probe_lease from qctl.gate g where g.queue_id = p_queue.queue_id);
  v_now timestamptz;
  v_queued_at timestamptz[];
  v_judged qctl.judged[];
  v_keys text[];
  v_over boolean;
  v_reason text;
begin
  v_queued_at := qctl._lock_messages(p_queue, p_msg_id);
  v_now := coalesce(p_simple_at, clock_timestamp());
  v_judged := qctl._judge(p_queue, v_queued_at, p_lease, p_msg_id, p_status, p_error, p_response, p_duration_ms, p_retry_after_s, v_now, p_oversize);
  perform qctl._end_leases(p_queue, v_judged, v_now);

  select count(*) filter (where j.outcome = 'delivered'), count(*) filter (where j.outcome = 'retrying'),
         count(*) filter (where j.outcome = 'dead'), count(*) filter (where j.outcome = 'paused'), count(*) filter (where j.outcome = 'late'),
         (select count(*) from (select distinct a.lease, a.msg_id from unnest(p_lease, p_msg_id) as a (lease, msg_id)) a) - count(*)
         - coalesce(p_simple, 0),
         array_agg(distinct j.order_key) filter (where j.order_key is not null),
         bool_or(j.noted and (j.outcome in ('delivered', 'dead') or not j.waiting))
  into delivered, retrying, dead, paused, late, unknown, v_keys, v_over
  from unnest(v_judged) j;
  if delivered > 0 then
    perform qctl._archive_delivered(p_queue, v_judged, v_now);
  end if;
  if dead > 0 then
    perform qctl._bury_judged(p_queue, v_judged, v_now, p_oversize);
  end if;
  if retrying + paused > 0 then
    perform qctl._schedule_retries(p_queue, v_judged, v_now);
  end if;
  if v_over then
    perform qctl._forget_judged(p_queue, v_judged);
  end if;
  perform qctl._log_attempts(p_queue, v_judged, v_now);

  if v_keys is not null and p_queue.ordered then
    perform qctl._show_next(p_queue, v_keys);
  end if;
  perform qctl._record_answers(p_queue, qctl._count_answers(v_judged, v_probe_lease, p_simple));
  if dead > 0 then
    perform qctl._emit('message.dead', p_queue.queue_name, jsonb_build_object('dead', dead, 'url', p_queue.url), '1 h');
  end if;
  if paused > 0 then
    v_reason := coalesce((select j.error from unnest(v_judged) j where j.outcome = 'paused' and qctl._is_missing(j.status, j.error) limit 1),
                         'the endpoint answered 410 Gone');
    perform qctl.pause(p_queue.queue_name, v_reason);
    update qctl.gate g set gone = true where g.queue_id = p_queue.queue_id and g.pause_reason = v_reason;
  end if;
  delivered := delivered + coalesce(p_simple, 0);
  return next;
end
$$;
