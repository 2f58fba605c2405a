-- Workers, those seen last first.
select w.worker_id, w.name, w.transport, w.queues,
       case when w.stopped_at is not null then 'stopped'
            when w.last_seen_at < clock_timestamp() - case w.transport when 'http' then interval '15 s' else '90 s' end then 'silent' else 'running' end as state,
       (select count(*) from qctl.in_flight f where f.worker_id = w.worker_id and f.lapsed_at is null)::integer as in_flight,
       w.qctl_version, w.started_at, w.last_seen_at, w.stopped_at
from qctl.worker w
order by w.stopped_at is not null, w.last_seen_at desc
limit 100;
