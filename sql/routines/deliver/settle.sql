-- Settle: applies the answers of the endpoint to the messages.

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
  v_state text;
  v_message text;
begin
  if v_count is null or v_count = 0 then
    return query select 0, 0, 0, 0, 0, 0, 0;
    return;
  end if;
  begin
    select * into v_simple from qctl._settle_simple(v_queue, p_lease, p_msg_id, p_status, p_response, p_duration_ms);
    if v_simple.delivered = v_count then
      perform qctl._record_answers(v_queue, (v_count, 0, 0, null, null, null, null)::qctl.answer_counts);
      return query select v_count, 0, 0, 0, 0, 0, 0;
    else
      return query select s.*, 0 from qctl._settle_rest(v_queue, p_lease, p_msg_id, p_status, p_error, p_response, p_duration_ms,
                                                        p_retry_after_s, false, v_simple.delivered, v_simple.settled_at) as s;
    end if;
    return;
  exception when data_exception or integrity_constraint_violation or program_limit_exceeded or plpgsql_error
                 or cardinality_violation then
    get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
  end;
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
  p_queue qctl.queue, p_lease uuid[], p_msg_id bigint[], p_status integer[], p_response bytea[], p_duration_ms integer[])
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
begin
  select * into v_gate from qctl.gate g where g.queue_id = p_queue.queue_id;
  if p_queue.ordered or p_queue.expect_text is not null or p_queue.expect_json is not null or v_gate.opened_at is not null then
    return;
  end if;
  -- Statements on pgmq's tables are planned at each call, so they are kept small; the statement between them keeps its plan.
  execute format($q$
    select array_agg(l.lease), array_agg(l.msg_id), array_agg(l.enqueued_at), array_agg(l.status), array_agg(l.response), array_agg(l.duration_ms)
    from (select a.*, q.enqueued_at
          from unnest($1, $2, $3, $4, $5) as a (lease, msg_id, status, response, duration_ms) join pgmq.%I q on q.msg_id = a.msg_id
          order by q.msg_id for update of q) l
  $q$, 'q_' || p_queue.queue_name)
  into v_lease, v_ids, v_times, v_status, v_response, v_duration_ms
  using p_lease, p_msg_id, p_status, p_response, p_duration_ms;
  settled_at := clock_timestamp();
  perform qctl._hold_archive(p_queue.queue_name);
  -- One lookup per answer, whatever the size of the tables was when the plan was made; with a join the planner would choose the order.
  with tried as materialized (
    select a.msg_id, a.status, a.response, a.duration_ms, f.place, f.worker_id, f.transport, f.claimed_at
    from unnest(v_lease, v_ids, v_times, v_status, v_response, v_duration_ms)
      as a (lease, msg_id, enqueued_at, status, response, duration_ms)
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
                              settled_at, duration_ms, status_code, response)
    select p_queue.queue_id, t.msg_id, 1, 1, 'delivered', t.worker_id, t.transport, t.claimed_at, settled_at, t.duration_ms, t.status,
           qctl._response_text(t.response)
    from tried t
    on conflict do nothing
  )
  -- Counts leases, because one answer may be here twice.
  select array_agg(t.msg_id), array_agg(t.status), (select count(*) from closed) into v_ids, v_status, delivered from tried t;
  if delivered > 0 then
    execute format($q$
      with done as (
        delete from pgmq.%1$I q using unnest($1, $2) as t (msg_id, status) where q.msg_id = t.msg_id
        returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers, t.status
      )
      insert into pgmq.%2$I as a (msg_id, read_ct, enqueued_at, archived_at, vt, message, headers)
      select d.msg_id, d.read_ct, d.enqueued_at, $3, d.vt, d.message,
             case when jsonb_typeof(d.headers) = 'object' then d.headers else '{}' end
             || jsonb_build_object('qctl', jsonb_build_object('outcome', 'delivered', 'delivered_at', $3, 'status', d.status,
                                                              'attempts', 1, 'delivery_no', 1))
      from done d %3$s
    $q$, 'q_' || p_queue.queue_name, 'a_' || p_queue.queue_name, qctl._archive_conflict(p_queue.queue_name))
    using v_ids, v_status, settled_at;
  end if;
  return next;
end
$$;
comment on function qctl._settle_simple(qctl.queue, uuid[], bigint[], integer[], bytea[], integer[]) is
  'Settles successes of first attempts, the most frequent answers, in a statement that costs two thirds of the general one. '
  'Returns how many it settled, and when. qctl._settle_rest settles the others.';

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
  v_q text := 'q_' || p_queue.queue_name;
  v_a text := 'a_' || p_queue.queue_name;
  v_now timestamptz;
  v_gate qctl.gate;
  v_keys text[];
  -- An array, because INTO takes no composite value beside scalars.
  v_answers qctl.answer_counts[];
begin
  select * into v_gate from qctl.gate g where g.queue_id = p_queue.queue_id;
  -- Settlers, replays and lapses of a message exclude each other by locking its queue row, in order of msg_id. Claims skip locked
  -- rows.
  execute format('select from pgmq.%I q where q.msg_id = any ($1) order by q.msg_id for update', v_q) using p_msg_id;
  perform from qctl.dead_letter d where d.queue_id = p_queue.queue_id and d.msg_id = any (p_msg_id) order by d.msg_id for update;
  v_now := coalesce(p_simple_at, clock_timestamp());
  perform qctl._hold_archive(p_queue.queue_name);

  -- No CTE is joined to another because the planner assumes one row for each and would loop. RETURNING carries the columns instead.
  execute format($q$
    with answer as materialized (
      select distinct on (a.msg_id, a.lease) a.*
      from (select a.lease, a.msg_id, a.status, a.response, a.duration_ms, a.retry_after_s, qctl._is_success(a.status) and m.met and not m.starting as ok,
                   case when not qctl._is_success(a.status) then a.error when m.starting then 'not there yet: n8n is starting'
                        when not m.met then 'the answer does not contain what the queue expects' else a.error end as error
            from unnest($2, $3, $4, $5, $6, $7, $8) as a (lease, msg_id, status, error, response, duration_ms, retry_after_s)
            cross join lateral (select case when $15 is null and $16 is null then true else qctl._is_expected(a.response, $15, $16) end as met,
                                      qctl._is_starting(a.response) as starting) m) a
      order by a.msg_id, a.lease, a.ok desc
    ), tried as materialized (
      select f.msg_id, f.enqueued_at, f.lease, f.delivery_no, f.attempt_no, f.worker_id, f.transport, f.claimed_at, f.lapsed_at,
             f.order_key, a.ok, a.status, left(a.error, 500) as error, a.response, a.duration_ms, a.retry_after_s
      from answer a join qctl.in_flight f on f.queue_id = $1 and f.msg_id = a.msg_id and f.lease = a.lease
      where f.msg_id = any ($3)
      order by f.msg_id, f.lease for update of f
    ), closed as (
      delete from qctl.in_flight f using tried t where f.queue_id = $1 and f.msg_id = t.msg_id and f.lease = t.lease
    ), known as materialized (
      select t.*, q.msg_id is not null as waiting, r.msg_id is not null as noted,
             coalesce(r.attempts, d.attempts, 0) + p.spent as attempts, p.spent, r.next_at as was_due_at,
             coalesce(r.rejected, 0) + qctl._is_rejection(t.status)::integer as rejected,
             coalesce(r.lost, d.lost, 0) as lost, r.webhook_id,
             t.delivery_no = coalesce(r.delivery_no, d.delivery_no, 1)
               and (q.msg_id is not null or d.msg_id is not null) as current
      from tried t
      left join pgmq.%1$I q on q.msg_id = t.msg_id and q.enqueued_at = t.enqueued_at
      left join qctl.retry r on r.queue_id = $1 and r.msg_id = t.msg_id and r.enqueued_at = t.enqueued_at
      -- An attempt before the schedule, as a probe or after an outage, costs nothing if the endpoint does not answer.
      cross join lateral (select case when r.early and t.claimed_at < r.next_at and qctl._answer_shows(t.status, t.error) <> 'alive' then 0 else 1 end as spent) p
      left join qctl.dead_letter d
        on d.queue_id = $1 and d.msg_id = t.msg_id and d.enqueued_at = t.enqueued_at and q.msg_id is null
    ), ranked as materialized (
      select k.*, k.current and k.ok as won, bool_or(k.current and k.ok) over m as message_won,
             row_number() over (m order by (k.current and k.ok) desc, k.lapsed_at nulls first, k.lease) as rank
      from known k window m as (partition by k.msg_id, k.enqueued_at)
    ), judged as materialized (
      select k.*,
             case when k.won and k.rank = 1 then 'delivered'
                  when k.message_won or not k.current or not k.waiting or k.lapsed_at is not null then 'late'
                  when $14 then 'dead'
                  when k.status = 410 then 'paused'
                  when qctl._is_rejection(k.status) and k.rejected >= $10 then 'dead'
                  when k.attempts > cardinality(case when k.order_key is null then $11 else $17 end::integer[]) then 'dead'
                  else 'retrying' end as outcome
      from ranked k
    ), plan as materialized (
      select j.*,
             case when j.outcome = 'paused' then $9
               when j.spent = 0 then greatest(j.was_due_at, $9)
               else $9 + make_interval(secs => greatest(qctl._backoff_s(case when j.order_key is null then $11 else $17 end, j.attempts, $12),
                                                        case when j.retry_after_s > 0 then least(j.retry_after_s, $13) end)) end as next_at
      from judged j where j.outcome in ('retrying', 'paused')
    ), done as (
      delete from pgmq.%1$I q using judged j
      where q.msg_id = j.msg_id and q.enqueued_at = j.enqueued_at and j.outcome = 'delivered'
      returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers, j.status, j.attempts, j.delivery_no, j.webhook_id
    ), undead as (
      delete from qctl.dead_letter d using judged j
      where d.queue_id = $1 and d.msg_id = j.msg_id and d.enqueued_at = j.enqueued_at and j.outcome = 'delivered' and not j.waiting
      returning d.msg_id, d.read_ct, d.enqueued_at, d.died_at, d.message, d.headers, j.status, j.attempts, j.delivery_no, d.webhook_id
    ), archived as (
      insert into pgmq.%2$I as a (msg_id, read_ct, enqueued_at, archived_at, vt, message, headers)
      select f.msg_id, f.read_ct, f.enqueued_at, $9, f.vt, f.message,
             case when jsonb_typeof(f.headers) = 'object' then f.headers else '{}' end
             || jsonb_build_object('qctl', jsonb_strip_nulls(jsonb_build_object(
                  'outcome', 'delivered', 'delivered_at', $9, 'status', f.status, 'attempts', f.attempts,
                  'delivery_no', f.delivery_no, 'webhook_id', f.webhook_id)))
      from (select * from done union all select * from undead) as f %3$s
    ), dying as (
      delete from pgmq.%1$I q using judged j where q.msg_id = j.msg_id and q.enqueued_at = j.enqueued_at and j.outcome = 'dead'
      returning q.msg_id, q.read_ct, q.enqueued_at, q.message, q.headers, j.delivery_no, j.attempts, j.rejected, j.lost,
                j.status, j.error, j.webhook_id, j.order_key
    ), buried as (%4$s), shown as (
      update pgmq.%1$I q set vt = p.next_at from plan p where q.msg_id = p.msg_id and q.enqueued_at = p.enqueued_at
    ), noted as (
      insert into qctl.retry as r (queue_id, msg_id, enqueued_at, delivery_no, attempt_no, attempts, rejected, lost, next_at,
                                   last_status, last_error, last_at)
      select $1, p.msg_id, p.enqueued_at, p.delivery_no, p.attempt_no, case p.outcome when 'paused' then 0 else p.spent end,
             qctl._is_rejection(p.status)::integer, 0, p.next_at, p.status, p.error, $9
      from plan p
      on conflict (queue_id, msg_id, enqueued_at) do update
        set attempt_no = greatest(r.attempt_no, excluded.attempt_no), attempts = r.attempts + excluded.attempts,
            rejected = r.rejected + excluded.rejected, next_at = excluded.next_at, early = false,
            last_status = excluded.last_status, last_error = excluded.last_error, last_at = excluded.last_at
    ), forgotten as (
      delete from qctl.retry r using judged j
      where r.queue_id = $1 and r.msg_id = j.msg_id and r.enqueued_at = j.enqueued_at
        and j.noted and (j.outcome in ('delivered', 'dead') or not j.waiting)
    ), siblings as (
      update qctl.in_flight f set lapsed_at = $9
      where f.queue_id = $1 and f.lapsed_at is null and f.msg_id = any (array(
              select j.msg_id from judged j where j.outcome = 'delivered' and j.lapsed_at is not null))
        and not exists (select from tried t where t.msg_id = f.msg_id and t.lease = f.lease)
    ), logged as (
      insert into qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, worker_id, transport, claimed_at,
                                settled_at, duration_ms, status_code, error, response, next_at)
      select $1, j.msg_id, j.delivery_no, j.attempt_no, j.outcome, j.worker_id, j.transport, j.claimed_at,
             $9, j.duration_ms, j.status, j.error, qctl._response_text(j.response), null
      from judged j where j.outcome not in ('retrying', 'paused')
      union all
      select $1, p.msg_id, p.delivery_no, p.attempt_no, p.outcome, p.worker_id, p.transport, p.claimed_at,
             $9, p.duration_ms, p.status, p.error, qctl._response_text(p.response), p.next_at
      from plan p
      on conflict do nothing
    )
    select count(*) filter (where j.outcome = 'delivered')::integer, count(*) filter (where j.outcome = 'retrying')::integer,
           count(*) filter (where j.outcome = 'dead')::integer, count(*) filter (where j.outcome = 'paused')::integer,
           count(*) filter (where j.outcome = 'late')::integer,
           (select count(*) from answer)::integer - count(*)::integer - coalesce($20, 0),
           array_agg(distinct j.order_key) filter (where j.order_key is not null),
           array[row(count(*) filter (where j.lapsed_at is null and o.shows = 'alive') + coalesce($20, 0),
               count(*) filter (where j.lapsed_at is null and o.shows = 'outage'), count(*) filter (where j.lapsed_at is null and o.shows = 'denied'),
               min(j.claimed_at) filter (where j.lapsed_at is null and o.shows in ('outage', 'denied')),
               max(case o.shows when 'denied' then 'outage' else o.shows end) filter (where j.lease = $19),
               max(j.retry_after_s) filter (where j.lease = $19),
               max(coalesce(j.error, 'HTTP ' || j.status)) filter (where o.shows in ('outage', 'denied')))::qctl.answer_counts]
    from judged j cross join lateral (select qctl._answer_shows(j.status, j.error) as shows) o
  $q$, v_q, v_a, qctl._archive_conflict(p_queue.queue_name), qctl._bury($b$
      select $1, d.msg_id, d.delivery_no, d.attempts, d.lost,
             case when $14 then 'oversize' when qctl._is_rejection(d.status) and d.rejected >= $10 then 'rejected' else 'exhausted' end,
             null, d.status, d.error, d.enqueued_at, d.read_ct, d.message, d.headers, d.webhook_id, $9,
             case when $18 = 'block' then d.order_key end
      from dying d $b$))
  into delivered, retrying, dead, paused, late, unknown, v_keys, v_answers
  using p_queue.queue_id, p_lease, p_msg_id, p_status, p_error, p_response, p_duration_ms, p_retry_after_s, v_now,
        p_queue.reject_after, p_queue.retry_schedule_s, p_queue.retry_jitter, p_queue.retry_after_max_s, p_oversize,
        p_queue.expect_text, p_queue.expect_json, p_queue.order_schedule_s, p_queue.on_dead,
        v_gate.probe_lease, p_simple;

  delivered := delivered + coalesce(p_simple, 0);
  if v_keys is not null and p_queue.ordered then
    perform qctl._show_next(p_queue, v_keys);
  end if;
  perform qctl._record_answers(p_queue, v_answers[1]);
  if dead > 0 then
    perform qctl._emit('message.dead', p_queue.queue_name, jsonb_build_object('dead', dead, 'url', p_queue.url), '1 h');
  end if;
  if paused > 0 then
    perform qctl.pause(p_queue.queue_name, 'the endpoint answered 410 Gone');
    update qctl.gate g set gone = true where g.queue_id = p_queue.queue_id and g.pause_reason = 'the endpoint answered 410 Gone';
  end if;
  return next;
end
$$;
