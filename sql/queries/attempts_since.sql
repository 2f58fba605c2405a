-- Attempts settled since an instant, of one queue or of all, the oldest of the newest :limit first.
select * from (
  select q.queue_name, a.msg_id, a.delivery_no, a.attempt_no, a.outcome, a.status_code, a.duration_ms, a.claimed_at,
         a.settled_at, a.next_at, a.error, a.response, w.name as worker, a.transport
  from qctl.queue q
  cross join lateral (
    select * from qctl.attempt t
    where t.queue_id = q.queue_id and t.settled_at >= :'since'::timestamptz
      and (not :'failed'::boolean or t.outcome not in ('delivered'))
    order by t.settled_at desc limit :'limit'::bigint
  ) a
  left join qctl.worker w using (worker_id)
  where :'queue'::text is null or q.queue_name = :'queue'
  order by a.settled_at desc limit :'limit'::bigint
) newest
order by settled_at, queue_name, msg_id, attempt_no;
