-- One queue's settings. Headers that look like secrets come by name only.
select q.queue_id, q.queue_uuid, q.queue_name, q.transport, q.url, qctl._shown_headers(q.headers) as headers, q.timeout_ms,
       q.concurrency, q.max_in_flight, q.retry_schedule_s, q.retry_jitter, q.retry_after_max_s, q.reject_after, q.max_lost,
       q.batch, q.dedicated, q.trust_location, q.retention_s,
       q.created_at, q.created_by
from qctl._queue(:'queue') as q;
