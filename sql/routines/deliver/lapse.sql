-- Lapse: ends leases that ran out before their answer came.

create or replace function qctl._lapse_at(p_request_id bigint, p_now timestamptz) returns timestamptz
language sql immutable parallel safe
return case when p_request_id is null then p_now else p_now - interval '10 min' end;
comment on function qctl._lapse_at(bigint, timestamptz) is
  'A lease that expired before this instant has lapsed. qctl._net_review decides about pg_net requests because it looks for the request; '
  'time alone ends their leases only after 10 minutes without a review.';

create or replace function qctl._lapse_gone(p_queue qctl.queue) returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  update qctl.in_flight f set lapsed_at = clock_timestamp()
  from (select o.msg_id, o.lease from qctl.in_flight o
        where o.queue_id = p_queue.queue_id and o.lapsed_at is null order by o.msg_id for update skip locked) o
  where f.queue_id = p_queue.queue_id and f.msg_id = o.msg_id and f.lease = o.lease
$$;
comment on function qctl._lapse_gone(qctl.queue) is 'Ends all leases of a queue whose pgmq table does not exist.';

create or replace function qctl._lapse(p_queue qctl.queue, p_now timestamptz) returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
as $$
declare
  v_q text := 'q_' || p_queue.queue_name;
  v_expired bigint[];
  v_anchored bigint[];
  v_present bigint[];
  v_count integer;
  v_keys text[];
begin
  select array_agg(f.msg_id) into v_expired from qctl.in_flight f
  where f.queue_id = p_queue.queue_id and f.lapsed_at is null and f.expires_at <= qctl._lapse_at(f.request_id, p_now);
  if v_expired is null then
    return 0;
  end if;

  -- Skips locked rows because their holder is settling the message, and waiting for it while holding the gate could deadlock.
  execute format('select array_agg(x.msg_id) from (select q.msg_id from pgmq.%I q where q.msg_id = any ($1)
                  order by q.msg_id for update skip locked) x', v_q)
    into v_anchored using v_expired;
  execute format('select array_agg(q.msg_id) from pgmq.%I q where q.msg_id = any ($1)', v_q)
    into v_present using v_expired;

  execute format($q$
    with due as materialized (
      select f.msg_id, f.lease from qctl.in_flight f
      where f.queue_id = $1 and f.lapsed_at is null and f.expires_at <= qctl._lapse_at(f.request_id, $2)
        and (f.msg_id = any ($3) or not f.msg_id = any (coalesce($4, '{}')))
      order by f.msg_id for update skip locked
    ), lapsed as (
      update qctl.in_flight f set lapsed_at = $2 from due d
      where f.queue_id = $1 and f.msg_id = d.msg_id and f.lease = d.lease
      returning f.msg_id, f.enqueued_at, f.delivery_no, f.attempt_no, f.order_key
    ), plan as materialized (
      select l.msg_id, l.enqueued_at, l.delivery_no, greatest(l.attempt_no, coalesce(r.attempt_no, 0)) as attempt_no,
             coalesce(r.attempts, 0) as attempts, coalesce(r.lost, 0) + 1 as lost, r.webhook_id, r.last_status, r.last_error,
             l.order_key, case when coalesce(r.lost, 0) = 0 then $2
                  else $2 + make_interval(secs => qctl._backoff_s(case when l.order_key is null then $5 else $8 end, r.lost, $6)) end as next_at
      from lapsed l
      left join qctl.retry r on r.queue_id = $1 and r.msg_id = l.msg_id and r.enqueued_at = l.enqueued_at
      where l.msg_id = any ($3)
    ), noted as (
      insert into qctl.retry as r (queue_id, msg_id, enqueued_at, delivery_no, attempt_no, attempts, rejected, lost, next_at)
      select $1, p.msg_id, p.enqueued_at, p.delivery_no, p.attempt_no, 0, 0, 1, p.next_at from plan p where p.lost <= $7
      on conflict (queue_id, msg_id, enqueued_at) do update
        set lost = r.lost + 1, attempt_no = greatest(r.attempt_no, excluded.attempt_no), next_at = greatest(r.next_at, excluded.next_at)
    ), shown as (
      update pgmq.%1$I q set vt = p.next_at from plan p where q.msg_id = p.msg_id and q.enqueued_at = p.enqueued_at and p.lost <= $7
    ), dying as (
      delete from pgmq.%1$I q using plan p where q.msg_id = p.msg_id and q.enqueued_at = p.enqueued_at and p.lost > $7
      returning q.msg_id, q.enqueued_at, q.read_ct, q.message, q.headers, p.delivery_no, p.attempts, p.lost, p.last_status,
                p.last_error, p.webhook_id, p.order_key
    ), buried as (%2$s), forgotten as (
      delete from qctl.retry r using dying d
      where r.queue_id = $1 and r.msg_id = d.msg_id and r.enqueued_at = d.enqueued_at
    )
    select count(*), array_agg(distinct l.order_key) filter (where l.order_key is not null) from lapsed l
  $q$, v_q, qctl._bury($b$
      select $1, d.msg_id, d.delivery_no, d.attempts, d.lost, 'lost', null, d.last_status,
             coalesce(d.last_error, 'no answer before the lease ran out'),
             d.enqueued_at, d.read_ct, d.message, d.headers, d.webhook_id, $2,
             case when $9 = 'block' then d.order_key end
      from dying d $b$))
  into v_count, v_keys
  using p_queue.queue_id, p_now, v_anchored, v_present, p_queue.retry_schedule_s, p_queue.retry_jitter, p_queue.max_lost,
        p_queue.order_schedule_s, p_queue.on_dead;
  if v_keys is not null and p_queue.ordered then
    perform qctl._show_next(p_queue, v_keys);
  end if;
  return v_count;
end
$$;
comment on function qctl._lapse(qctl.queue, timestamptz) is
  'Marks the expired leases of a queue and makes their messages visible again: after the first loss at once, later by the schedule.';
