-- What the last attempts of each queue came to, or of one.
select q.queue_name, a.* from qctl.queue q cross join lateral qctl.answers(q.queue_name) a
where :'queue'::text is null or q.queue_name = :'queue' order by q.queue_name, a.attempts desc, a.status_code;
