-- The queues.
select q.queue_name, q.transport, q.url,
       (select count(*) from qctl.attachment a where a.queue_id = q.queue_id)::integer as attached, g.paused_at, q.created_at
from qctl.queue q join qctl.gate g using (queue_id)
order by q.queue_name;
