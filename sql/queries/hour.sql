-- Attempts of each minute of the last hour, the oldest first.
select q.queue_name, array_agg(coalesce(t.delivered, 0) order by m.minute) as delivered,
       array_agg(coalesce(t.failed + t.dead + t.lost, 0) order by m.minute) as failed
from qctl.queue q
cross join generate_series(date_trunc('minute', now()) - interval '60 min', date_trunc('minute', now()) - interval '1 min', interval '1 min') as m (minute)
left join qctl.throughput t on t.queue_id = q.queue_id and t.minute = m.minute
where :'queue'::text is null or q.queue_name = :'queue'
group by q.queue_name order by q.queue_name;
