-- What a worker of the http transport must know of its queues: all of them, or those named.
select queue_id, queue_name, concurrency, max_in_flight
from qctl.queue
where transport = 'http' and (:'queues'::text[] is null or queue_name = any (:'queues'::text[]))
order by queue_name;
