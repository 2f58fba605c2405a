-- Which attempts were settled since an instant, of one queue or of all, in order.
select q.queue_name, t.msg_id, t.delivery_no, t.attempt_no, t.settled_at
from qctl.queue q
join qctl.attempt t on t.queue_id = q.queue_id and t.settled_at >= :'since'::timestamptz and (not :'failed'::boolean or t.outcome <> 'delivered')
where :'queue'::text is null or q.queue_name = :'queue'
order by t.settled_at, q.queue_name, t.msg_id, t.attempt_no;
