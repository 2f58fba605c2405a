-- How each message ended, by webhook-id, and the milliseconds from commit to success.
select qctl.webhook_id(q.queue_uuid, a.msg_id, a.enqueued_at), 'delivered',
       extract(epoch from a.archived_at - a.enqueued_at)::double precision * 1000
from pgmq.a_users a, qctl.queue q where q.queue_name = 'users' and a.headers #>> '{qctl,outcome}' = 'delivered'
union all
select qctl.webhook_id(q.queue_uuid, d.msg_id, d.enqueued_at), 'dead', null
from qctl.dead_letter d join qctl.queue q using (queue_id) where q.queue_name = 'users';
