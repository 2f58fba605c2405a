-- Of these attempts what is measured: nothing of what was sent or answered.
select q.queue_name, a.outcome, a.status_code, a.duration_ms
from unnest(:'queues'::text[], :'msg_ids'::bigint[], :'delivery_nos'::integer[], :'attempt_nos'::integer[])
       as k (queue_name, msg_id, delivery_no, attempt_no)
join qctl.queue q using (queue_name)
join qctl.attempt a on a.queue_id = q.queue_id and a.msg_id = k.msg_id and a.delivery_no = k.delivery_no and a.attempt_no = k.attempt_no;
