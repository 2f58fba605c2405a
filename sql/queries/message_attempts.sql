-- The attempts of one message, settled ones and those under way, in order.
select q.queue_name, a.msg_id, a.delivery_no, a.attempt_no, a.outcome, a.status_code, a.duration_ms, a.claimed_at,
       a.settled_at, a.next_at, a.error, a.response, w.name as worker, a.transport
from qctl.queue q
join lateral (
  select t.msg_id, t.delivery_no, t.attempt_no, t.outcome, t.status_code, t.duration_ms, t.claimed_at, t.settled_at,
         t.next_at, t.error, t.response, t.worker_id, t.transport
  from qctl.attempt t where t.queue_id = q.queue_id and t.msg_id = :'msg_id'::bigint
  union all
  select f.msg_id, f.delivery_no, f.attempt_no, case when f.lapsed_at is null then 'in_flight' else 'lapsed' end,
         null, null, f.claimed_at, f.lapsed_at, null, null, null, f.worker_id, f.transport
  from qctl.in_flight f where f.queue_id = q.queue_id and f.msg_id = :'msg_id'::bigint
) a on true
left join qctl.worker w using (worker_id)
where q.queue_name = :'queue'
order by a.delivery_no, a.attempt_no, a.claimed_at;
