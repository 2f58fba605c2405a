-- What a worker of the http transport must know of its queues: all of them, or those named.
select queue_id, queue_name, transport, concurrency, concurrency_auto, max_in_flight, expect_text is not null or expect_json is not null as expects, allow_networks::text[] as allow_networks, qctl.is_armed() as armed
from qctl.queue
where :'queues'::text[] is null or queue_name = any (:'queues'::text[])
order by queue_name;
