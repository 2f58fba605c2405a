-- These attempts, in the order in which they were settled.
select q.queue_name, a.msg_id, a.delivery_no, a.attempt_no, a.outcome, a.status_code, a.duration_ms, a.claimed_at,
       a.settled_at, a.next_at, a.error, a.response, w.name as worker, a.transport
from unnest(:'queues'::text[], :'msg_ids'::bigint[], :'delivery_nos'::integer[], :'attempt_nos'::integer[])
       as k (queue_name, msg_id, delivery_no, attempt_no)
join qctl.queue q using (queue_name)
join qctl.attempt a on a.queue_id = q.queue_id and a.msg_id = k.msg_id and a.delivery_no = k.delivery_no and a.attempt_no = k.attempt_no
left join qctl.worker w using (worker_id)
order by a.settled_at, q.queue_name, a.msg_id, a.attempt_no;
