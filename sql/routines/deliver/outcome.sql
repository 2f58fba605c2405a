-- Outcome: what each outcome of an attempt does to its message.

create or replace function qctl._end_leases(p_queue qctl.queue, p_judged qctl.judged[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
begin
  -- One lookup by index for each, here and below, whatever the size of the tables was when the plan was made.
  delete from qctl.in_flight f
  where f.ctid = any (array(
    select l.place from unnest(p_judged) j
    cross join lateral (select f.ctid as place from qctl.in_flight f
                        where f.queue_id = p_queue.queue_id and f.msg_id = j.msg_id and f.lease = j.lease offset 0) l));
  -- A message that is delivered by a lease that had lapsed may be under way again.
  if exists (select from unnest(p_judged) j where j.outcome = 'delivered' and j.lapsed_at is not null) then
    update qctl.in_flight f set lapsed_at = p_now
    where f.queue_id = p_queue.queue_id and f.lapsed_at is null
      and f.msg_id = any (array(select j.msg_id from unnest(p_judged) j where j.outcome = 'delivered' and j.lapsed_at is not null));
  end if;
end
$$;

create or replace function qctl._archive_delivered(p_queue qctl.queue, p_judged qctl.judged[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
begin
  if not p_queue.archive then
    execute format($q$
      with done as (
        delete from pgmq.%I q using unnest($2) j where q.msg_id = j.msg_id and q.enqueued_at = j.enqueued_at and j.outcome = 'delivered'
      )
      delete from qctl.dead_letter d using unnest($2) j
      where d.queue_id = $1 and d.msg_id = j.msg_id and d.enqueued_at = j.enqueued_at and j.outcome = 'delivered' and not j.waiting
    $q$, 'q_' || p_queue.queue_name) using p_queue.queue_id, p_judged;
    return;
  end if;
  -- RETURNING carries the columns; of CTEs that are joined the planner assumes one row each and would loop.
  execute format($q$
    with done as (
      delete from pgmq.%1$I q using unnest($2) j
      where q.msg_id = j.msg_id and q.enqueued_at = j.enqueued_at and j.outcome = 'delivered'
      returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers, j.status, j.attempts, j.delivery_no, j.webhook_id, j.worker_id, j.response
    ), undead as (
      delete from qctl.dead_letter d using unnest($2) j
      where d.queue_id = $1 and d.msg_id = j.msg_id and d.enqueued_at = j.enqueued_at and j.outcome = 'delivered' and not j.waiting
      returning d.msg_id, d.read_ct, d.enqueued_at, d.died_at, d.message, d.headers, j.status, j.attempts, j.delivery_no, d.webhook_id, j.worker_id, j.response
    )
    insert into pgmq.%2$I as a (msg_id, read_ct, enqueued_at, archived_at, vt, message, headers)
    select f.msg_id, f.read_ct, f.enqueued_at, $3, f.vt, f.message,
           case when jsonb_typeof(f.headers) = 'object' then f.headers else '{}' end
           || jsonb_build_object('qctl', jsonb_strip_nulls(jsonb_build_object(
                'outcome', 'delivered', 'delivered_at', $3, 'status', f.status, 'attempts', f.attempts,
                'delivery_no', f.delivery_no, 'webhook_id', f.webhook_id%4$s)))
    from (select * from done union all select * from undead) as f %3$s
  $q$, 'q_' || p_queue.queue_name, 'a_' || p_queue.queue_name, qctl._archive_conflict(p_queue.queue_name),
     case when qctl._carrier(p_queue.url) <> 'http'
          then $m$, 'worker', (select w.name from qctl.worker w where w.worker_id = f.worker_id), 'receipt', qctl._response_text(f.response)$m$ else '' end)
  using p_queue.queue_id, p_judged, p_now;
end
$$;
comment on function qctl._archive_delivered(qctl.queue, qctl.judged[], timestamptz) is 'Moves the delivered messages to the archive.';

create or replace function qctl._bury_judged(p_queue qctl.queue, p_judged qctl.judged[], p_now timestamptz, p_oversize boolean) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
begin
  execute format($q$
    with dying as (
      delete from pgmq.%1$I q using unnest($2) j where q.msg_id = j.msg_id and q.enqueued_at = j.enqueued_at and j.outcome = 'dead'
      returning q.msg_id, q.enqueued_at, q.read_ct, q.message, q.headers, j.delivery_no, j.attempts, j.rejected, j.lost, j.status, j.error,
                j.webhook_id, j.order_key
    )
    %2$s
  $q$, 'q_' || p_queue.queue_name, qctl._bury($b$
      select $1, d.msg_id, d.delivery_no, d.attempts, d.lost,
             case when $4 or qctl._is_too_large(d.status, d.error) then 'oversize' when qctl._is_refused(d.status, d.error) and d.rejected >= $5 then 'rejected' else 'exhausted' end,
             null, d.status, d.error, d.enqueued_at, d.read_ct, d.message, d.headers, d.webhook_id, $3, case when $6 = 'block' then d.order_key end
      from dying d $b$))
  using p_queue.queue_id, p_judged, p_now, p_oversize, p_queue.reject_after, p_queue.on_dead;
end
$$;
comment on function qctl._bury_judged(qctl.queue, qctl.judged[], timestamptz, boolean) is 'Makes dead letters of the messages that are dead.';

create or replace function qctl._forget_judged(p_queue qctl.queue, p_judged qctl.judged[]) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
begin
  delete from qctl.retry r
  where r.ctid = any (array(
    select l.place from unnest(p_judged) j
    cross join lateral (select r.ctid as place from qctl.retry r
                        where r.queue_id = p_queue.queue_id and r.msg_id = j.msg_id and r.enqueued_at = j.enqueued_at
                          -- A replay may have begun since the answer was judged.
                          and r.delivery_no <= j.delivery_no offset 0) l
    where j.noted and (j.outcome in ('delivered', 'dead') or not j.waiting)));
end
$$;
comment on function qctl._forget_judged(qctl.queue, qctl.judged[]) is 'Deletes the retries of messages that are not in the queue any more.';

create or replace function qctl._schedule_retries(p_queue qctl.queue, p_judged qctl.judged[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
begin
  execute format($q$
    update pgmq.%I q set vt = j.next_at from unnest($1) j where q.msg_id = j.msg_id and q.enqueued_at = j.enqueued_at and j.next_at is not null
  $q$, 'q_' || p_queue.queue_name) using p_judged;
  insert into qctl.retry as r (queue_id, msg_id, enqueued_at, delivery_no, attempt_no, attempts, rejected, lost, next_at,
                               last_status, last_error, last_at)
  select p_queue.queue_id, j.msg_id, j.enqueued_at, j.delivery_no, j.attempt_no, case j.outcome when 'paused' then 0 else j.spent end,
         qctl._is_refused(j.status, j.error)::integer, 0, j.next_at, j.status, j.error, p_now
  from unnest(p_judged) j where j.outcome in ('retrying', 'paused')
  on conflict (queue_id, msg_id, enqueued_at) do update
    set attempt_no = greatest(r.attempt_no, excluded.attempt_no), attempts = r.attempts + excluded.attempts,
        rejected = r.rejected + excluded.rejected, next_at = excluded.next_at, early = false,
        last_status = excluded.last_status, last_error = excluded.last_error, last_at = excluded.last_at;
end
$$;
comment on function qctl._schedule_retries(qctl.queue, qctl.judged[], timestamptz) is
  'Schedules the next attempt of the messages that are tried again, and of those whose answer paused the queue.';

create or replace function qctl._log_attempts(p_queue qctl.queue, p_judged qctl.judged[], p_now timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  v_plain integer;
  v_one bigint;
begin
  if p_queue.log <> 'all' then
    select count(distinct j.msg_id), max(j.msg_id) into v_plain, v_one from unnest(p_judged) j
    where j.outcome = 'delivered' and j.delivery_no = 1 and j.attempt_no = 1;
  end if;
  insert into qctl.attempt (queue_id, msg_id, delivery_no, attempt_no, outcome, worker_id, transport, claimed_at,
                            settled_at, duration_ms, status_code, error, response, next_at, stands_for)
  select p_queue.queue_id, j.msg_id, j.delivery_no, j.attempt_no, j.outcome, j.worker_id, j.transport, j.claimed_at,
         p_now, j.duration_ms, j.status, j.error, qctl._response_text(j.response), j.next_at, case when s.plain and p_queue.log <> 'all' then v_plain else 1 end
  from unnest(p_judged) j
  cross join lateral (select j.outcome = 'delivered' and j.delivery_no = 1 and j.attempt_no = 1 as plain) s
  where p_queue.log = 'all' or not s.plain or j.msg_id = v_one
  on conflict do nothing;
end
$$;
