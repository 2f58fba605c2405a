-- Judge: decides what each answer means for its message, without changing anything.

create or replace function qctl._lock_messages(p_queue qctl.queue, p_msg_id bigint[]) returns timestamptz[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
declare
  v_queued_at timestamptz[];
begin
  -- Settlers, replays and lapses of a message exclude each other by locking its queue row, in order of msg_id. Claims skip locked
  -- rows.
  execute format('select from pgmq.%I q where q.msg_id = any ($1) order by q.msg_id for update', 'q_' || p_queue.queue_name) using p_msg_id;
  perform from qctl.dead_letter d where d.queue_id = p_queue.queue_id and d.msg_id = any (p_msg_id) order by d.msg_id for update;
  perform qctl._hold_archive(p_queue.queue_name);
  execute format($q$
    select array_agg(q.enqueued_at order by a.place) from unnest($1) with ordinality as a (msg_id, place)
    left join lateral (select q.enqueued_at from pgmq.%I q where q.msg_id = a.msg_id offset 0) q on true
  $q$, 'q_' || p_queue.queue_name) into v_queued_at using p_msg_id;
  return v_queued_at;
end
$$;
comment on function qctl._lock_messages(qctl.queue, bigint[]) is
  'Locks messages, in the queue and among the dead letters, and returns the enqueued_at of each that is in the queue, null for the others.';

create or replace function qctl._judge(
  p_queue qctl.queue, p_queued_at timestamptz[], p_lease uuid[], p_msg_id bigint[], p_status integer[], p_error text[], p_response bytea[],
  p_duration_ms integer[], p_retry_after_s integer[], p_now timestamptz, p_oversize boolean)
returns qctl.judged[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  c_away constant interval := '5 s';
begin
  return (
  with answer as materialized (
    select distinct on (a.msg_id, a.lease) a.*
    from (select a.lease, a.msg_id, a.queued_at, a.status, a.response, a.duration_ms, a.retry_after_s,
                 qctl._is_success(a.status) and m.met and not m.starting as ok,
                 left(case when not qctl._is_success(a.status) then a.error when m.starting then 'not there yet: n8n is starting'
                           when not m.met then 'the answer does not contain what the queue expects' else a.error end, 500) as error
          from unnest(p_lease, p_msg_id, p_queued_at, p_status, p_error, p_response, p_duration_ms, p_retry_after_s)
            as a (lease, msg_id, queued_at, status, error, response, duration_ms, retry_after_s)
          cross join lateral (select case when p_queue.expect_text is null and p_queue.expect_json is null then true
                                          else qctl._is_expected(a.response, p_queue.expect_text, p_queue.expect_json) end as met,
                                     qctl._is_starting(a.response) as starting) m) a
    order by a.msg_id, a.lease, a.ok desc
  ), known as materialized (
    -- offset 0 forces a lookup by index for each answer, whatever the size of the tables was when the plan was made.
    select a.*, f.enqueued_at, f.delivery_no, f.attempt_no, f.worker_id, f.transport, f.claimed_at, f.lapsed_at, f.order_key,
           w.waiting, r.msg_id is not null as noted, coalesce(r.attempts, d.attempts, 0) + p.spent as attempts, p.spent, r.next_at as was_due_at,
           coalesce(r.rejected, 0) + qctl._is_refused(a.status, a.error)::integer as rejected, coalesce(r.lost, d.lost, 0) as lost, r.webhook_id,
           f.delivery_no = coalesce(r.delivery_no, d.delivery_no, 1) and (w.waiting or d.msg_id is not null) as current
    from answer a
    cross join lateral (select f.* from qctl.in_flight f where f.queue_id = p_queue.queue_id and f.msg_id = a.msg_id and f.lease = a.lease
                        offset 0 for update) f
    cross join lateral (select coalesce(a.queued_at = f.enqueued_at, false) as waiting) w
    left join lateral (select r.* from qctl.retry r
                       where r.queue_id = p_queue.queue_id and r.msg_id = a.msg_id and r.enqueued_at = f.enqueued_at offset 0) r on true
    left join lateral (select d.msg_id, d.attempts, d.lost, d.delivery_no from qctl.dead_letter d
                       where d.queue_id = p_queue.queue_id and d.msg_id = a.msg_id and d.enqueued_at = f.enqueued_at and not w.waiting
                       offset 0) d on true
    -- An attempt before the schedule, as a probe or after an outage, costs nothing if the endpoint does not answer.
    cross join lateral (select case when qctl._costs_nothing(a.status, a.error) or r.early and f.claimed_at < r.next_at and qctl._answer_shows(a.status, a.error) <> 'alive'
                                    then 0 else 1 end as spent) p
  ), ranked as (
    select k.*, bool_or(k.current and k.ok) over m as message_won,
           row_number() over (m order by (k.current and k.ok) desc, k.lapsed_at nulls first, k.lease) as rank
    from known k window m as (partition by k.msg_id, k.enqueued_at)
  ), judged as (
    select k.*, case when k.order_key is null then p_queue.retry_schedule_s else p_queue.order_schedule_s end as schedule_s
    from ranked k
  )
  select array_agg((j.msg_id, j.enqueued_at, j.lease, j.delivery_no, j.attempt_no, j.worker_id, j.transport, j.claimed_at, j.lapsed_at,
                    j.order_key, j.status, j.error, j.response, j.duration_ms, j.retry_after_s, j.waiting, j.noted, j.attempts, j.spent,
                    j.rejected, j.lost, j.webhook_id, o.outcome,
                    case when o.outcome = 'paused' then p_now
                         -- Without a breaker a message that costs nothing would be tried again at once, and for ever.
                         when o.outcome = 'retrying' and j.spent = 0 then
                           greatest(j.was_due_at, p_now + case when qctl._costs_nothing(j.status, j.error) then c_away else interval '0' end)
                         when o.outcome = 'retrying' then
                           p_now + make_interval(secs => greatest(qctl._backoff_s(j.schedule_s, j.attempts, p_queue.retry_jitter),
                                                                  case when j.retry_after_s > 0 then least(j.retry_after_s, p_queue.retry_after_max_s) end))
                    end)::qctl.judged order by j.msg_id, j.lease)
  from judged j
  cross join lateral (
    select case when j.current and j.ok and j.rank = 1 then 'delivered'
                when j.message_won or not j.current or not j.waiting or j.lapsed_at is not null then 'late'
                when p_oversize or qctl._is_too_large(j.status, j.error) then 'dead'
                when j.status = 410 or qctl._is_missing(j.status, j.error) then 'paused'
                when qctl._is_refused(j.status, j.error) and j.rejected >= p_queue.reject_after then 'dead'
                when j.attempts > cardinality(j.schedule_s) then 'dead'
                else 'retrying' end as outcome) o);
end
$$;
comment on function qctl._judge(qctl.queue, timestamptz[], uuid[], bigint[], integer[], text[], bytea[], integer[], integer[], timestamptz, boolean) is
  'What each answer that belongs to a lease means for its message: delivered, retrying, dead, paused or late, and when it is tried again. '
  'The caller has locked the messages and says which are in the queue (p_queued_at, by the place of p_msg_id).';

create or replace function qctl._count_answers(p_judged qctl.judged[], p_probe_lease uuid, p_simple integer) returns qctl.answer_counts
language plpgsql immutable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
begin
  return (select row(count(*) filter (where j.lapsed_at is null and o.shows = 'alive') + coalesce(p_simple, 0),
             count(*) filter (where j.lapsed_at is null and o.shows = 'outage'), count(*) filter (where j.lapsed_at is null and o.shows = 'denied'),
             min(j.claimed_at) filter (where j.lapsed_at is null and o.shows in ('outage', 'denied')),
             max(case o.shows when 'denied' then 'outage' else o.shows end) filter (where j.lease = p_probe_lease),
             max(j.retry_after_s) filter (where j.lease = p_probe_lease),
             max(coalesce(j.error, 'HTTP ' || j.status)) filter (where o.shows in ('outage', 'denied')))::qctl.answer_counts
  from unnest(p_judged) j cross join lateral (select qctl._answer_shows(j.status, j.error) as shows) o);
end
$$;
comment on function qctl._count_answers(qctl.judged[], uuid, integer) is
  'What the breaker learns from answers; p_simple more show that the endpoint works.';
